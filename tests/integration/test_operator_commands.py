from __future__ import annotations

import base64
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer
from harness import RunForemesh, eventually

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.adapters.kafka.dead_letters import REPLAY_HEADER, letters
from streams.adapters.kafka.topic_reader import read_topic
from streams.catalog import yaml_reader
from streams.cli.catalog import publish
from streams.engine.producer import CheckedProducer
from streams.flow.topology import key_of
from streams.pipeline.event_time.presence import GroupPresence
from streams.pipeline.last_values import entries_in_force
from streams.pipeline.operator_word import OperatorWord, in_force
from streams.pipeline.operator_word import publish as publish_word
from streams.records import DeadLetter, Request
from streams.records.control import Control, Pin
from streams.settings import Settings

pytestmark = pytest.mark.usefixtures("topics")

CATALOGUE = """\
constituents:
  pricing: {cpu: 250, memory: 128, warm_up_ms: 900, price: 0.02}
  stock: {cpu: 250, memory: 256, warm_up_ms: 1500, price: 0.02}
composites:
  checkout: [[pricing, stock]]
tiers:
  gold: {weight: 0.02, sla_ms: 200, priority: 10}
pools:
  default: {cpu: 8000, memory: 16384, bandwidth: 1000}
"""


def requests(settings: Settings) -> list[Request]:
    values = [m.value() or b"" for m in read_topic(settings, settings.topic("requests"))]
    return [record for record in map(codec.decode, values) if isinstance(record, Request)]


def put_letters(settings: Settings, *found: DeadLetter) -> None:
    producer = CheckedProducer(producer_config(settings))
    for letter in found:
        name = settings.topic("dead-letters")
        producer.send(name, key_of(letter), codec.encode(letter))
    producer.flush(10)


def put_originals(settings: Settings, topic: str) -> None:
    """What the letters tell of: three times the same, on partition 0."""
    producer = Producer(producer_config(settings))
    for _ in range(3):
        producer.produce(settings.topic(topic), b"\xff original", b"ada", partition=0)
    producer.flush(10)


def letter(topic: str = "requests", offset: int = 0, reason: str = "bad luck") -> DeadLetter:
    return DeadLetter(
        topic=topic,
        partition=0,
        offset=offset,
        stage="profiler",
        reason=reason,
        at_ms=1,
        key=b"ada",
        value=b"\xff original",
    )


def test_a_catalogue_is_loaded_whole_and_loading_it_again_changes_nothing(
    run_foremesh: RunForemesh, tmp_path: Path
) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(CATALOGUE)
    first = run_foremesh("catalog", "load", str(path)).finish()
    assert "5 loaded, 0 unchanged, 0 withdrawn" in first
    again = run_foremesh("catalog", "load", str(path)).finish()
    assert "0 loaded, 5 unchanged, 0 withdrawn" in again
    for form in ("yaml", "json"):  # JSON is YAML, too
        shown = run_foremesh("catalog", "show", "--output", form).finish()
        assert yaml_reader.parse(CATALOGUE) == yaml_reader.parse(shown)


def test_of_operators_who_speak_at_once_each_is_heard(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    services = ["a", "b", "c", "d"]
    word = OperatorWord(by="ann", reason="a sale")

    def pin(service: str) -> Control:
        pinned = Pin(service=service, least=1)
        return publish_word(settings, "default", word, lambda now: now.pinned(pinned))

    with ThreadPoolExecutor() as together:
        said = list(together.map(pin, services))

    now = in_force(settings)["default"]
    assert sorted(pin.service for pin in now.pins) == services
    assert now in said
    assert capfd.readouterr().err == ""


def test_what_is_no_longer_in_the_catalogue_is_withdrawn(settings: Settings) -> None:
    publish(settings, yaml_reader.parse(CATALOGUE))
    smaller = CATALOGUE.replace("[[pricing, stock]]", "[pricing]").replace("  gold:", "  blue:")
    done = publish(settings, yaml_reader.parse(smaller))
    assert done == {"loaded": 2, "unchanged": 3, "withdrawn": 1}
    assert "tier/gold" not in entries_in_force(settings)
    assert "tier/blue" in entries_in_force(settings)


def test_a_log_is_produced_and_its_bad_rows_are_dead_letters(
    settings: Settings, run_foremesh: RunForemesh, tmp_path: Path
) -> None:
    log = tmp_path / "log.csv"
    log.write_bytes(b"user,item,ts\nada,s,1\ngrace,s,soon\n\xff,s,3\nlin,t,4\n")
    output = run_foremesh("produce", str(log)).finish()
    assert "2 requests delivered" in output
    assert "2 rows rejected: see `foremesh dead-letters list`" in output
    assert {(r.user, r.service, r.at_ms) for r in requests(settings)} == {
        ("ada", "s", 1_000),
        ("lin", "t", 4_000),
    }
    found = {(x.letter.topic, x.letter.offset, x.letter.value) for x in letters(settings)}
    assert found == {("log.csv", 3, b"grace,s,soon"), ("log.csv", 4, b"\xff,s,3")}


def test_how_a_log_of_the_past_is_taken_is_said_unless_it_is_taken_so(
    settings: Settings, run_foremesh: RunForemesh, tmp_path: Path
) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,item,ts\nada,s,1\n")
    hint = "run `FOREMESH_CLOCK=event foremesh worker`"

    assert hint in run_foremesh("produce", str(log)).finish()
    with closing(GroupPresence(settings)) as worker:
        worker.enter()
        assert hint not in run_foremesh("produce", str(log)).finish()


def test_producing_a_log_twice_asks_for_nothing_twice(
    settings: Settings, run_foremesh: RunForemesh, tmp_path: Path
) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,item,ts\n" + "".join(f"u{n},s,{n}\n" for n in range(50)))
    for _ in range(2):
        run_foremesh("produce", str(log)).finish()
    assert len({r.request_id for r in requests(settings)}) == 50


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_produce_says_how_many_were_delivered(
    settings: Settings, run_foremesh: RunForemesh, tmp_path: Path, number: signal.Signals
) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,item,ts\n" + "".join(f"u{n},s,{n}\n" for n in range(50, 5_000)))
    running = run_foremesh("produce", str(log), "--speed", "20")
    eventually(lambda: len(requests(settings)) > 5)
    running.process.send_signal(number)
    assert running.wait(20) == 130
    assert f"{len(requests(settings))} requests delivered" in running.output


def test_produce_without_topics_says_what_to_do(run_foremesh: RunForemesh, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item\na,s\n")
    running = run_foremesh("produce", str(tmp_path / "log.csv"), FOREMESH_PREFIX="none-")
    assert running.wait() == 1
    assert "run `foremesh topics create`" in running.output


def test_dead_letters_are_listed_with_their_bytes(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    put_letters(settings, letter(offset=1), letter(offset=2, reason="[/red] worse luck"))
    table = run_foremesh("dead-letters", "list").finish()
    assert "bad luck" in table
    assert "[/red] worse luck" in table
    assert "2 of 2 dead letters" in table
    output = run_foremesh("dead-letters", "list", "--reason", "worse", "--output", "json").finish()
    [found] = json.loads(output)
    assert (found["topic"], found["offset"]) == ("requests", 2)
    assert base64.b64decode(found["value_base64"]) == b"\xff original"


def test_dead_letters_are_sent_back_once(settings: Settings, run_foremesh: RunForemesh) -> None:
    put_originals(settings, "requests")
    put_letters(settings, letter(offset=1), letter(offset=2, reason="other"), letter("log.csv"))
    dry = run_foremesh("dead-letters", "replay", "--dry-run").finish()
    assert "would be: 2 sent back" in dry
    some = run_foremesh("dead-letters", "replay", "--reason", "other").finish()
    assert "1 sent back, 0 had been" in some
    rest = run_foremesh("dead-letters", "replay").finish()
    assert "1 sent back, 1 had been sent back before, 1 of a file, left out" in rest
    none = run_foremesh("dead-letters", "replay").finish()
    assert "0 sent back, 2 had been" in none
    again = run_foremesh("dead-letters", "replay", "--again", "--topic", "requests").finish()
    assert "2 sent back" in again
    found = [m for m in read_topic(settings, settings.topic("requests")) if m.headers()]
    assert [(m.key(), m.value()) for m in found] == [(b"ada", b"\xff original")] * 4
    names = [dict(m.headers() or ())[REPLAY_HEADER] for m in found]
    assert len(set(names)) == 2


def test_letters_that_the_sink_wrote_with_the_prefix_are_sent_back_too(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    put_originals(settings, "instances")
    old = replace(letter(settings.topic("instances")), stage="sink")
    put_letters(settings, old, replace(old, topic="instances", offset=1))
    listed = run_foremesh("dead-letters", "list", "--topic", "instances").finish()
    assert "2 of 2 dead letters" in listed
    output = run_foremesh("dead-letters", "replay").finish()
    assert "2 sent back, 0 had been sent back before, 0 of a file, left out" in output
    assert len(list(read_topic(settings, settings.topic("instances")))) == 5


def refusal(settings: Settings, run: RunForemesh, *said: str) -> str:
    """What an operator is told whose word is not taken, where the catalogue is in force."""
    publish(settings, yaml_reader.parse(CATALOGUE))
    running = run("control", *said)
    assert running.wait(30) == 1
    return running.output


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        (("mode", "defualt", "off"), "no pool 'defualt', but 'default'"),
        (("pin", "default", "checkout", "--min", "1"), "no constituent 'checkout'"),
        (("quota", "default", "silver", "2"), "no tier 'silver'"),
    ],
)
def test_a_name_that_the_catalogue_does_not_have_is_refused(
    settings: Settings, run_foremesh: RunForemesh, said: tuple[str, ...], refused: str
) -> None:
    output = refusal(settings, run_foremesh, *said)

    assert f"the catalogue has {refused}: see `foremesh catalog show`" in output


def test_the_answer_to_an_operator_is_all_that_is_in_force(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    publish(settings, yaml_reader.parse(CATALOGUE))

    run_foremesh("control", "budget", "default", "2.5").finish()
    answer = run_foremesh("control", "mode", "default", "shadow").finish()

    assert answer == "In force in default: mode shadow; budget 2.5 an hour\n"


def test_what_is_in_force_can_be_changed_after_the_catalogue_has_lost_its_names(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    publish(settings, yaml_reader.parse(CATALOGUE))
    run_foremesh("control", "pin", "default", "stock", "--min", "1").finish()
    other = CATALOGUE.replace("stock", "store").replace("default:", "other:")
    publish(settings, yaml_reader.parse(other))

    run_foremesh("control", "mode", "default", "off").finish()
    run_foremesh("control", "unpin", "default", "stock").finish()


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        (("unpin", "default", "stcok"), "'stcok' is not pinned in pool 'default'"),
        (("quota", "default", "glod"), "tier 'glod' has no quota in pool 'default'"),
    ],
)
def test_what_is_not_in_force_cannot_be_taken_back(
    settings: Settings, run_foremesh: RunForemesh, said: tuple[str, ...], refused: str
) -> None:
    output = refusal(settings, run_foremesh, *said)

    assert f"{refused}: see `foremesh control show`" in output
