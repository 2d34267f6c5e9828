"""Records as large as the broker takes: set aside, told of, and sent back from their places."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from harness import Eventually, RunForemesh
from live import Live

from streams.adapters.avro import codec
from streams.adapters.kafka import topic_reader
from streams.adapters.kafka.clients import client_config, producer_config, reader_config
from streams.adapters.kafka.dead_letters import letters
from streams.adapters.kafka.topic_reader import read_topic
from streams.engine.producer import CheckedProducer
from streams.flow.topology import key_of
from streams.records import DeadLetter, Request
from streams.settings import Settings

pytestmark = pytest.mark.usefixtures("topics")

NEAR_THE_LIMIT = 3_145_500  # of 3,145,728 bytes
UNPACKED = 8_000_000


def send(settings: Settings, value: bytes, key: bytes = b"ada") -> tuple[int, int]:
    """Send a request as a producer without bounds of its own does; where it went."""
    config = {**producer_config(settings), "message.max.bytes": 20_000_000}
    producer = Producer({**config, "compression.type": "lz4"})
    places: list[tuple[int, int]] = []
    producer.produce(
        settings.topic("requests"), value, key,
        on_delivery=lambda _, m: places.append((m.partition() or 0, m.offset() or 0)),
    )  # fmt: skip
    producer.flush(20)
    return places[0]


def letter(place: tuple[int, int], value: bytes) -> DeadLetter:
    partition, offset = place
    return DeadLetter.of(
        b"ada", value, topic="requests", partition=partition, offset=offset, stage="profiler",
        reason="too large", at_ms=1,
    )  # fmt: skip


def put_letters(settings: Settings, *found: DeadLetter) -> None:
    producer = CheckedProducer(producer_config(settings))
    for each in found:
        producer.send(settings.topic("dead-letters"), key_of(each), codec.encode(each))
    producer.flush(10)


def expire(settings: Settings, partition: int) -> None:
    """What retention does: all records of a partition of `requests` are gone."""
    client: Any = AdminClient(client_config(settings))
    last = TopicPartition(settings.topic("requests"), partition, -1)
    [future.result(20) for future in client.delete_records([last]).values()]


def test_the_largest_records_that_a_broker_takes_stop_no_worker(
    live: Live, eventually: Eventually
) -> None:
    unpacked = codec.encode(
        Request(request_id="r", user="ada", service="s", at_ms=1, parameters={"q": "x" * UNPACKED})
    )
    near = os.urandom(NEAR_THE_LIMIT)
    for value in (near, unpacked, b"{" + bytes(UNPACKED)):
        send(live.settings, value)
    good = Request(request_id="good", user="bob", service="s", at_ms=1)
    send(live.settings, codec.encode(good), key=b"bob")
    worker = live.worker("profiler", "interceptor")
    eventually(lambda: [key_of(p) for p in live.records("predictions")] == [b"bob"])
    eventually(lambda: len(live.dead()) == 3)
    assert worker.process.poll() is None
    letters = [item.letter for item in live.dead()]
    assert [x.size for x in letters] == [len(near), len(unpacked), UNPACKED + 1]
    assert all(x.tells_of(b"ada", v) for x, v in zip(letters, (near, unpacked), strict=False))
    assert "more than the 3145728 of a record" in letters[1].reason


def test_a_letter_that_has_the_beginning_only_is_sent_back_from_its_place(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    value = os.urandom(500_000)
    put_letters(settings, letter(send(settings, value), value))
    assert "1 sent back" in run_foremesh("dead-letters", "replay").finish()
    found = [(m.key(), m.value()) for m in read_topic(settings, settings.topic("requests"))]
    assert found == [(b"ada", value)] * 2


def test_many_letters_are_sent_back_in_seconds(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    producer = CheckedProducer(producer_config(settings))
    for offset in range(200):
        producer.send(settings.topic("requests"), b"ada", b"%d" % offset, partition=0)
    producer.flush(10)
    put_letters(settings, *(letter((0, offset), b"%d" % offset) for offset in range(200)))
    begun = time.monotonic()
    assert "200 sent back" in run_foremesh("dead-letters", "replay").finish()
    assert time.monotonic() - begun < 30  # 5 of them; by default, a fetch waits .5 s for more


def test_a_letter_that_tells_of_another_record_than_its_place_has_is_not_sent(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    place = send(settings, b"what was there")
    old = replace(letter(place, b"forged too"), key_size=0, value_size=0, sha256="")
    elsewhere = letter((place[0], place[1] + 7), b"nowhere")
    put_letters(settings, letter(place, b"forged"), old, elsewhere)
    output = run_foremesh("dead-letters", "replay").finish()
    assert "0 sent back, " in output
    assert "1 gone from its topic, left out" in output
    assert "2 another than what is at its place now, left out" in output
    found = [m.value() for m in read_topic(settings, settings.topic("requests"))]
    assert found == [b"what was there"]


def test_letters_of_an_older_release_are_sent_back(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    old = replace(letter(send(settings, b"v"), b"v"), key_size=0, value_size=0, sha256="")
    put_letters(settings, old)
    assert "1 sent back" in run_foremesh("dead-letters", "replay").finish()


def test_records_that_are_gone_are_sent_from_their_letters_when_asked_for(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    gone = send(settings, b"kept whole")
    expire(settings, gone[0])
    put_letters(settings, letter(gone, b"kept whole"))
    assert "0 sent back" in run_foremesh("dead-letters", "replay").finish()
    assert "1 sent back" in run_foremesh("dead-letters", "replay", "--from-letters").finish()
    found = [(m.key(), m.value()) for m in read_topic(settings, settings.topic("requests"))]
    assert found == [(b"ada", b"kept whole")]


def test_replay_says_of_what_it_cannot_send_back_why(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    value, huge = os.urandom(500_000), bytes(UNPACKED)
    gone = send(settings, value)
    expire(settings, gone[0])
    another, large = send(settings, value[::-1]), send(settings, huge)
    put_letters(settings, letter(gone, value), letter(another, value), letter(large, huge))
    output = run_foremesh("dead-letters", "replay").finish()
    assert "0 sent back, " in output
    assert "1 gone from its topic, left out" in output
    assert "1 another than what is at its place now, left out" in output
    assert "1 larger than 3,145,728 bytes, which must be produced again, left out" in output


def test_letters_written_while_letters_are_read_are_left_for_the_next_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that runs meanwhile makes them of what `replay` sends: it would never end."""
    little = {"max.partition.fetch.bytes": 1, "queued.max.messages.kbytes": 1}
    monkeypatch.setattr(topic_reader, "reader_config", lambda s: {**reader_config(s), **little})
    for offset in range(5):
        put_letters(settings, letter((0, offset), b"x"))
    found = []
    for item in letters(settings):
        found.append(item.letter.offset)
        put_letters(settings, letter((0, 5 + len(found)), b"x"))
        assert len(found) < 50

    assert found == [0, 1, 2, 3, 4]
