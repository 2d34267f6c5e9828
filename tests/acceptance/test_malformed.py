from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from live import Live

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.adapters.kafka.topic_reader import read_topic
from streams.engine.producer import CheckedProducer
from streams.records import Outcome, Request
from streams.records.catalog import Tier

GOOD = 10_000
OF_EACH_KIND = 1_000
USERS = 500
SERVICES = 20
YEAR_MS = 365 * 24 * 3600 * 1000
COMPOSITES = ", ".join(f"s{n}: [base]" for n in range(SERVICES))
CATALOGUE = f"""\
constituents:
  base: {{cpu: 100, memory: 100, warm_up_ms: 1000, price: 1}}
composites: {{{COMPOSITES}}}
tiers:
  standard: {{weight: 0.01, sla_ms: 1000}}
pools:
  default: {{cpu: 1000, memory: 1000, bandwidth: 100}}
"""

Raw = tuple[bytes | None, bytes | None]  # key, value
CHANCE = random.Random(11)


def numbered(number: int | None) -> Request:
    return Request(
        request_id="bad" if number is None else f"good-{number}",
        user=f"user{CHANCE.randrange(USERS)}",
        service=f"s{CHANCE.randrange(SERVICES)}",
        at_ms=time.time_ns() // 1_000_000,
        parameters={"size": "9"},
    )


def keyed(request: Request) -> Raw:
    return request.user.encode(), codec.encode(request)


def truncated(request: Request) -> Raw:
    data = codec.encode(request)
    return b"any", data[: CHANCE.randrange(11, len(data))]


def wrong_schema(request: Request) -> Raw:
    if CHANCE.random() < 0.5:
        return request.user.encode(), codec.encode(Tier(tier="x", weight=1.0, sla_ms=1))
    return b"any", b"\xc3\x01" + CHANCE.randbytes(8) + codec.encode(request)[10:]


def empty(request: Request) -> Raw:
    return request.user.encode(), CHANCE.choice([b"", None])


def noise(request: Request) -> Raw:
    return request.user.encode(), CHANCE.randbytes(1024 * 1024)


def bad_utf8(request: Request) -> Raw:
    data = codec.encode(replace(request, request_id="#" * 16))
    return request.user.encode(), data.replace(b"#" * 16, b"\xff\xfe" * 8)


def missing_key(request: Request) -> Raw:
    return (None if CHANCE.random() < 0.5 else b"somebody else"), codec.encode(request)


def far_future(request: Request) -> Raw:
    return keyed(replace(request, at_ms=request.at_ms + YEAR_MS))


def negative(request: Request) -> Raw:
    return keyed(replace(request, at_ms=-request.at_ms))


def unknown_service(request: Request) -> Raw:
    return keyed(replace(request, service="nobody's"))


def oversized(request: Request) -> Raw:
    many, large = {f"p{n}": "v" for n in range(1_000)}, {"p": "v" * 100_000}
    return keyed(replace(request, parameters=CHANCE.choice([many, large])))


KINDS: dict[Callable[[Request], Raw], str] = {
    truncated: r"truncated|not valid Avro|not Avro|not valid UTF-8",
    wrong_schema: r"wrong schema: a Tier|unknown schema fingerprint",
    empty: r"^empty$",
    noise: r"not Avro single-object",
    bad_utf8: r"not valid UTF-8",
    missing_key: r"^missing key$|key .* is not",
    far_future: r"more than a day after",
    negative: r"time -\d+ is negative",
    unknown_service: r"service \"nobody's\" is not in the catalogue",
    oversized: r"parameters are oversized",
}


def send_all(live: Live) -> None:
    """Send the good and the bad, well mixed, each with its kind in a header."""
    kinds: list[Callable[[Request], Raw]] = [
        kind for kind in (*KINDS, *[keyed] * (GOOD // OF_EACH_KIND)) for _ in range(OF_EACH_KIND)
    ]
    CHANCE.shuffle(kinds)
    numbers = iter(range(GOOD))
    producer = CheckedProducer(producer_config(live.settings))
    for kind in kinds:
        key, value = kind(numbered(next(numbers) if kind is keyed else None))
        headers = [("kind", kind.__name__.encode())]
        producer.send(live.settings.topic("requests"), key, value, headers=headers)
    producer.flush(120)


def kinds_sent(live: Live) -> dict[tuple[int, int], str]:
    """What stands where on the topic."""
    found = {}
    for message in read_topic(live.settings, live.settings.topic("requests")):
        place = (message.partition() or 0, message.offset() or 0)
        kind = dict(message.headers() or ())["kind"]
        assert isinstance(kind, bytes)
        found[place] = kind.decode()
    return found


@pytest.mark.timeout(900)
def test_a_flood_of_malformed_records_hurts_only_itself(live: Live, tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(CATALOGUE)
    live.catalogue(path)
    worker, sink = live.worker(), live.sink()
    send_all(live)
    live.be_quiet(600)

    usable = {f"good-{number}" for number in range(GOOD)}
    outcomes = Counter(r.request_id for r in live.records("outcomes") if isinstance(r, Outcome))
    assert outcomes == dict.fromkeys(usable, 1)
    assert {i for (i,) in live.query("SELECT request_id FROM prediction_history")} == usable
    assert {i for (i,) in live.query("SELECT request_id FROM outcomes")} == usable

    sent, reasons = kinds_sent(live), {kind.__name__: why for kind, why in KINDS.items()}
    refused = Counter[str]()
    for found in live.dead():
        letter = found.letter
        assert letter.topic == "requests"
        kind = sent.pop((letter.partition, letter.offset))  # once
        assert re.search(reasons[kind], letter.reason), (kind, letter.reason)
        refused[kind] += 1
    assert refused == dict.fromkeys(reasons, OF_EACH_KIND)
    assert live.rows("dead_letters") == OF_EACH_KIND * len(KINDS)

    assert worker.process.poll() is None
    assert sink.process.poll() is None
    assert "Traceback" not in worker.output
