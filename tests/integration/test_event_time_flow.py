"""The whole flow in one worker in event time, on a real Kafka: what else may happen to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Consumer
from harness import eventually
from live import Live
from services import read
from topic_changes import delete

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import connect, consumer_config, producer_config
from streams.adapters.kafka.groups import members
from streams.adapters.kafka.topics import create_topics
from streams.cli.produce_wait import wait_for_flow
from streams.engine.producer import CheckedProducer, WriterFenced
from streams.errors import DeliveryFailed, FlowStalled, StagesRunApart, StateUnreadable
from streams.flow.components import EVENT_TIME
from streams.flow.topology import STAGES, key_of, topic_of
from streams.pipeline.event_time.checkpoint import FlowCheckpoints
from streams.pipeline.event_time.flow import EventTimeFlow
from streams.pipeline.replay import replay
from streams.records import Command, DeadLetter, Instance, Outcome, Prediction, Record, Request
from streams.records.catalog import Catalog, Composite, Constituent, Pool, Resources, Tier
from streams.records.control import Control, Mode
from streams.settings import Settings

ENTRIES = (
    Constituent(service="base", needs=Resources(cpu=1.0), warm_up_ms=4_000, price=1.0),
    Composite(service="draw", steps=(("base",),)),
    Tier(tier="standard", weight=0.1, sla_ms=1_000),
    Pool(pool="default", capacity=Resources(cpu=8.0)),
)
SAVE = FlowCheckpoints.save


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, clock="event", idle_ms=500)


@pytest.fixture(autouse=True)
def catalogue(live: Live) -> None:
    send(live.settings, ENTRIES)


def send(settings: Settings, records: Sequence[Record]) -> None:
    """Put records on their topics, without watermarks."""
    producer = CheckedProducer(producer_config(settings))
    for record in records:
        producer.send(settings.topic(topic_of(record)), key_of(record), codec.encode(record))
    producer.flush(10)


def requests(count: int, *, gap_s: int = 7, serve_s: int = 0) -> list[Request]:
    """Requests of five users in turn; each takes up to ten times so long as `serve_s`."""
    return [
        Request(
            request_id=f"r{n}",
            user=f"u{n % 5}",
            service="draw",
            at_ms=1_760_000_000_000 + 1_000 * gap_s * n,
            serve_ms=1_000 * serve_s * (n % 11),
        )
        for n in range(count)
    ]


@contextmanager
def running(settings: Settings, flow: EventTimeFlow | None = None) -> Iterator[None]:
    """A flow in a thread; what it raises comes out at the end."""
    flow, errors = flow or EventTimeFlow(settings), list[Exception]()

    def run() -> None:
        try:
            flow.run()
        except Exception as error:  # noqa: BLE001  # raised below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        flow.stop()
        thread.join(30)
    if errors:
        raise errors[0]


def failing_after(checkpoints: int) -> Callable[..., None]:
    """`FlowCheckpoints.save`, but that only so many are saved."""
    saved = list[None]()

    def first(*args: Any) -> None:
        saved.append(None)
        if len(saved) > checkpoints:
            raise DeliveryFailed("not saved")
        SAVE(*args)

    return first


def outcomes(live: Live) -> list[Outcome]:
    return [r for r in live.records("outcomes") if isinstance(r, Outcome)]


def test_requests_of_a_producer_that_writes_no_watermarks_are_taken_in_order(live: Live) -> None:
    asked = requests(40)
    send(live.settings, asked)
    with running(live.settings):
        wait_for_flow(live.settings, recorded=True)
    expected = {
        r for r in replay(asked, live.settings, Catalog.of(ENTRIES)) if isinstance(r, Outcome)
    }
    assert set(outcomes(live)) == expected


def test_what_cannot_be_used_becomes_a_dead_letter_with_its_place(live: Live) -> None:
    producer = CheckedProducer(producer_config(live.settings))
    producer.send(live.settings.topic("requests"), b"u", b"rubbish", partition=2)
    producer.send(live.settings.topic("requests"), b"v", codec.encode(requests(1)[0]), partition=2)
    producer.flush(10)
    with running(live.settings):
        wait_for_flow(live.settings, recorded=True)
    letters = [r for r in live.records("dead-letters") if isinstance(r, DeadLetter)]
    letters.sort(key=lambda letter: letter.offset)
    assert [(r.topic, r.partition, r.offset, r.stage, r.key) for r in letters] == [
        ("requests", 2, 0, "profiler", b"u"),
        ("requests", 2, 1, "profiler", b"v"),
    ]
    assert letters[0].value == b"rubbish"
    assert "key b'v' is not b'u0'" in letters[1].reason


def test_operator_overrides_hold_from_the_first_request(live: Live) -> None:
    send(live.settings, [Control(pool="default", mode=Mode.OFF), *requests(20)])
    with running(live.settings):
        wait_for_flow(live.settings, recorded=True)
    assert len(outcomes(live)) == 20
    assert [r for r in live.records("commands") if isinstance(r, Command)] == []


def test_the_later_of_two_such_workers_goes_on(live: Live) -> None:
    earlier, later = EventTimeFlow(live.settings), EventTimeFlow(live.settings)
    send(live.settings, requests(5))
    with pytest.raises(WriterFenced, match="Another worker runs the flow in event time now"):
        earlier.run()
    with running(live.settings, later):
        wait_for_flow(live.settings, recorded=True)
    assert {r.request_id for r in outcomes(live)} == {f"r{n}" for n in range(5)}


def test_stages_in_workers_of_their_own_are_not_run_beside(live: Live) -> None:
    live.worker("feedback")
    admin, group = connect(live.settings), live.settings.group("feedback")
    eventually(lambda: members(admin, group))
    with pytest.raises(StagesRunApart, match="Another worker runs feedback"):
        EventTimeFlow(replace(live.settings, session_ms=1_000))


def test_it_ends_when_a_stage_is_started_in_a_worker_of_its_own(live: Live) -> None:
    flow = EventTimeFlow(replace(live.settings, commit_ms=1))
    admin, group = connect(live.settings), live.settings.group("feedback")
    with closing(Consumer(consumer_config(live.settings, group))) as started:
        started.subscribe([live.settings.topic("outcomes")])
        eventually(lambda: started.poll(0.1) or members(admin, group))
        send(live.settings, requests(5))
        with pytest.raises(StagesRunApart, match="Another worker runs feedback"):
            flow.run()


def test_it_is_a_member_of_its_group_before_it_loads_anything(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin, group, seen = connect(live.settings), live.settings.group(EVENT_TIME), list[int]()

    def load(*_: object) -> None:
        seen.append(len(members(admin, group)))
        raise StateUnreadable

    monkeypatch.setattr(FlowCheckpoints, "load", load)
    with pytest.raises(StateUnreadable):
        EventTimeFlow(live.settings)
    assert seen == [1]
    assert members(admin, group) == []  # it has left, so that nothing waits for it


def test_the_stages_own_workers_go_on_where_it_left_off(live: Live) -> None:
    asked = requests(24)
    send(live.settings, asked[:20])
    with running(live.settings):
        wait_for_flow(live.settings, recorded=True)
    live.worker(*[name for name in STAGES if name != "provisioner"])
    live.worker("provisioner")
    for request in asked[20:]:
        send(live.settings, [request])
        live.be_quiet()
    assert sorted(r.request_id for r in outcomes(live)) == sorted(r.request_id for r in asked)
    made = [r.request_id for r in live.records("predictions") if isinstance(r, Prediction)]
    assert sorted(made) == sorted(r.request_id for r in asked)


def test_it_goes_on_where_it_was_stopped(live: Live) -> None:
    asked = requests(60)
    for start in (0, 30):
        send(live.settings, asked[start : start + 30])
        with running(live.settings):
            wait_for_flow(live.settings, recorded=True)
    expected = list(replay(asked, live.settings, Catalog.of(ENTRIES)))
    for topic, kind in (("outcomes", Outcome), ("instances", Instance), ("commands", Command)):
        wanted = [record for record in expected if isinstance(record, kind)]
        assert sorted(map(repr, read(live.settings, topic))) == sorted(map(repr, wanted))


def test_requests_on_a_topic_made_anew_are_taken_from_its_beginning(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    asked = requests(60)
    send(live.settings, asked[:20])
    with running(live.settings):
        wait_for_flow(live.settings, recorded=True)
    delete(live.settings, "requests")
    create_topics(live.settings)
    send(live.settings, asked[20:])
    with running(live.settings):
        wait_for_flow(live.settings, recorded=True)

    assert sorted(r.request_id for r in outcomes(live)) == sorted(r.request_id for r in asked)
    assert caplog.text.count("Topic requests was deleted and made anew") == 1


def test_nothing_counts_that_two_workers_made_after_their_last_checkpoints(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests(80, gap_s=120, serve_s=20)
    send(live.settings, asked[:10])
    with running(live.settings):
        wait_for_flow(live.settings, recorded=True)
    send(live.settings, asked[10:])
    for commit_ms, checkpoints in (10_000, 0), (1, 1):  # the second ends long before the first
        monkeypatch.setattr(FlowCheckpoints, "save", failing_after(checkpoints))
        with pytest.raises(DeliveryFailed, match="not saved"):
            EventTimeFlow(replace(live.settings, commit_ms=commit_ms)).run()
    monkeypatch.undo()
    made = [i for i in read(live.settings, "instances") if isinstance(i, Instance) and i.uses]
    assert max(i.gone_ms or 0 for i in made) > asked[60].at_ms  # the first ended some that served
    with running(live.settings):
        wait_for_flow(live.settings, recorded=True)
    expected = replay(asked, live.settings, Catalog.of(ENTRIES))
    wanted = {repr(record) for record in expected if isinstance(record, Command)}
    assert set(map(repr, read(live.settings, "commands"))) == wanted


def test_waiting_for_a_flow_that_does_not_run_ends_with_what_to_do(live: Live) -> None:
    send(live.settings, requests(1))
    with pytest.raises(FlowStalled, match="start `FOREMESH_CLOCK=event foremesh worker`"):
        wait_for_flow(live.settings, recorded=True, stalled_s=0.5)
