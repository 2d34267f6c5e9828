"""A runner by itself, on a real broker: what it saves once it has given up."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from counting import Counting
from engine_harness import records, refuse, saved_state
from faust.types import TP

from streams.adapters.avro.codec import encode
from streams.engine.batch import RecordBatch
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


async def give_up(runner: StageRunner, settings: Settings) -> list[BaseException]:
    """Own partitions, take a batch of each, fail to deliver, and stop."""
    crashes: list[BaseException] = []

    async def crash(error: BaseException) -> None:
        crashes.append(error)

    async def rewind(tp: TP, offset: int) -> None:
        raise AssertionError((tp, offset))

    topic = settings.topic("requests")
    tps = {TP(topic, number) for number in OWNED}
    runner.assigned(tps, generation=1)
    for _ in range(1_000):
        if runner.ready(tps) == tps:
            break
        await asyncio.sleep(0.05)
    runner.start(rewind, crash)
    for tp in tps:
        await runner.take(batch(tp))
    await runner.checkpoint()  # fails
    await runner.checkpoint()  # as a worker does when it stops
    await runner.stop()
    return crashes


def batch(tp: TP) -> RecordBatch:
    request = Request(request_id=f"r{tp.partition}", user="user", service="s", at_ms=1_000)
    record = SimpleNamespace(offset=0, timestamp=1_000, key=b"user", value=encode(request))
    return RecordBatch(tp.topic, tp.partition, generation=1, follows=None, records=[record])
