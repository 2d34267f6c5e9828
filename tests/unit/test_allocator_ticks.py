"""Ticks of the allocator: a pool that fails or whose clock was wrong harms no other, and recovers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pools import TIERS, constituent, demand, pool

from streams.adapters.avro import codec
from streams.allocator.stage import AllocatorStage
from streams.allocator.state import PoolState
from streams.engine.partition_store import PartitionStore
from streams.engine.stage_steps import StageSteps
from streams.records import Command, Record
from streams.records.catalog import Catalog, Pool
from streams.records.control import Control, Mode
from streams.stages.base import StepContext

NOW = 1_800_000_000_000
YEAR = 366 * 86_400_000
OTHER = Pool(pool="q", capacity=pool().capacity)
KNOWN = Catalog.of([*TIERS, constituent("base"), pool(), OTHER])
WANTED = ("base", "gold", 0.5)


def context(now_ms: int) -> StepContext:
    return StepContext(3, now_ms, KNOWN)


def after_demand(now_ms: int, *pools: str) -> PartitionStore[Any]:
    stage = AllocatorStage()
    state: PartitionStore[Any] = PartitionStore(stage.encode, stage.decode, 99)
    for name in pools:
        list(stage.step(replace(demand(now_ms, WANTED), pool=name), state, context(now_ms)))
    return state


def pools_of(made: list[Record]) -> set[str]:
    return {record.pool for record in made if isinstance(record, Command)}


def ticked(state: PartitionStore[Any], now_ms: int) -> tuple[set[str], int]:
    """The pools for which a tick issued commands, and how many it failed for."""
    steps = StageSteps(AllocatorStage(), codec.installed(), lambda record: record)
    made, failed = steps.tick(now_ms, state, context(now_ms))
    return pools_of(list(made)), failed


def test_a_pool_that_cannot_be_decided_on_is_named_and_the_others_are_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state = after_demand(NOW, "p", "q")
    state["p/p"] = state["p/p"]._replace(held={"base": "soon"})  # no time
    state.checkpoint()

    assert ticked(state, NOW + 11_000) == ({"q"}, 1)

    (line,) = {line.getMessage() for line in caplog.records}
    assert line.startswith("allocator[3] failed at a tick of p: TypeError: ")


def test_a_pool_that_failed_is_decided_on_again_at_the_next_tick() -> None:
    state = after_demand(NOW, "p", "q")
    whole = state["p/p"]
    state["p/p"] = whole._replace(held={"base": "soon"})
    state.checkpoint()
    ticked(state, NOW + 11_000)
    state["p/p"] = whole

    assert ticked(state, NOW + 12_000) == ({"p"}, 0)


def test_a_pool_whose_clock_was_a_year_ahead_is_served_at_the_next_tick() -> None:
    state = after_demand(NOW + YEAR, "p")
    serial = state["p/p"].serial
    ticked(state, NOW)
    stage = AllocatorStage()

    made = list(stage.step(demand(NOW + 1_000, WANTED), state, context(NOW + 1_000)))

    row = state["p/p"]
    assert isinstance(row, PoolState)
    assert pools_of(made) == {"p"}
    assert (row.now_ms, row.serial > serial) == (NOW + 1_000, True)


def test_a_pool_keeps_its_mode_when_its_clock_is_set_back() -> None:
    state, control = after_demand(NOW + YEAR, "p"), Control(pool="p", mode=Mode.SHADOW)
    state["p/p"] = state["p/p"]._replace(control=control)

    assert ticked(state, NOW) == (set(), 0)

    assert (state["p/p"].now_ms, state["p/p"].control) == (NOW, control)


def test_a_clock_that_is_less_than_a_minute_ahead_is_believed() -> None:
    state = after_demand(NOW + 50_000, "p")
    before = state["p/p"]

    ticked(state, NOW)

    assert state["p/p"] == before
