"""A runner by itself, on a real broker: what it saves once it has given up."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from counting import Counting
from engine_harness import records, refuse, saved_state
from faust.types import TP

from streams.adapters.avro.codec import encode
from streams.allocator.stage import AllocatorStage
from streams.engine.batch import BareEnd, RecordBatch
from streams.engine.faust.app import StageApp
from streams.engine.stage_runner import StageRunner
from streams.pipeline.worker import create_app
from streams.records import Request
from streams.settings import Settings

pytestmark = pytest.mark.usefixtures("topics")

OWNED = range(3)


def test_a_worker_that_gives_up_saves_no_partition_whose_outputs_are_lost(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.engine.stage_runner.TRIES", 1)
    (app,) = create_app(settings, {"interceptor": Counting()}).stages
    assert isinstance(app, StageApp)
    refuse(settings, "outcomes")

    crashes = asyncio.run(give_up(app.owner, settings))

    assert "not delivered to Kafka" in str(crashes[0])
    for number in OWNED:
        assert list(records(settings, "outcomes", number)) == []
        assert saved_state(settings, number) == ({}, {})


def test_records_that_were_dropped_between_fetch_and_agent_are_fetched_again(
    settings: Settings,
) -> None:
    (app,) = create_app(settings, {"interceptor": Counting()}).stages
    assert isinstance(app, StageApp)
    topic = TP(settings.topic("requests"), 0)

    taken = take(app.owner, [batch(topic), batch(topic, offset=7, follows=4)])

    assert asyncio.run(taken) == ({topic: 1}, {topic: 1})


def test_offsets_that_the_log_itself_lacks_are_not_asked_for_again(settings: Settings) -> None:
    (app,) = create_app(settings, {"interceptor": Counting()}).stages
    assert isinstance(app, StageApp)
    topic = TP(settings.topic("requests"), 0)

    taken = take(app.owner, [batch(topic), batch(topic, offset=7, follows=1)])

    assert asyncio.run(taken) == ({}, {topic: 8})


def test_the_allocator_fetches_what_operators_have_said_before_it_fetches_demand(
    settings: Settings,
) -> None:
    (app,) = create_app(settings, {"allocator": AllocatorStage()}).stages
    assert isinstance(app, StageApp)
    runner, (demand, control) = app.owner, map(settings.topic, ("demand", "control"))

    async def fetched() -> tuple[set[TP], set[TP]]:
        tps = {TP(demand, 0), TP(control, 0)}
        await own(runner, {TP(control, 0)})
        before = runner.ready(tps)
        runner.reached(TP(control, 0), BareEnd(0, 0))
        after = runner.ready(tps)
        await runner.stop()
        return before, after

    assert asyncio.run(fetched()) == ({TP(control, 0)}, {TP(demand, 0), TP(control, 0)})


async def take(
    runner: StageRunner, batches: list[RecordBatch]
) -> tuple[dict[TP, int], dict[TP, int]]:
    """Own the batches' partition, take them and save: what is fetched again, and what committed."""
    rewound: dict[TP, int] = {}

    async def rewind(tp: TP, offset: int) -> None:
        rewound[tp] = offset

    tps = {TP(one.topic, one.partition) for one in batches}
    await own(runner, tps)
    runner.start(rewind, fail)
    for one in batches:
        await runner.take(one)
    await runner.checkpoint()
    committable = dict(runner.committable())
    await runner.stop()
    return rewound, committable


async def fail(error: BaseException) -> None:
    raise error


async def give_up(runner: StageRunner, settings: Settings) -> list[BaseException]:
    """Own partitions, take a batch of each, fail to deliver, and stop."""
    crashes: list[BaseException] = []

    async def crash(error: BaseException) -> None:
        crashes.append(error)

    async def rewind(tp: TP, offset: int) -> None:
        raise AssertionError((tp, offset))

    topic = settings.topic("requests")
    tps = {TP(topic, number) for number in OWNED}
    await own(runner, tps)
    runner.start(rewind, crash)
    for tp in tps:
        await runner.take(batch(tp))
    await runner.checkpoint()  # fails
    await runner.checkpoint()  # as a worker does when it stops
    await runner.stop()
    return crashes


async def own(runner: StageRunner, tps: set[TP]) -> None:
    runner.assigned(tps, generation=1)
    for _ in range(1_000):
        if runner.ready(tps) == tps:
            return
        await asyncio.sleep(0.05)


def batch(tp: TP, offset: int = 0, follows: int = 0) -> RecordBatch:
    request = Request(request_id=f"r{tp.partition}", user="user", service="s", at_ms=1_000)
    record = SimpleNamespace(offset=offset, timestamp=1_000, key=b"user", value=encode(request))
    return RecordBatch(tp.topic, tp.partition, 1, follows, [record])
