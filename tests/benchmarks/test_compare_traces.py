"""What predictive warming is worth on recorded traces, against the policies of the literature.

Nothing is timed here: the figures are the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import gentd26
import pytest
from figures import TRACE, trace
from rich.console import Console

from streams.catalog.inference import infer
from streams.cli.compare import show
from streams.lab.compare.advantage import advantages
from streams.lab.compare.policies import KeepAlive
from streams.lab.compare.predictive import PredictivePolicy, WorthForecast
from streams.lab.compare.run import POLICIES, SCALES, PolicyRow, compare
from streams.records import Request
from streams.records.catalog import Catalog

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.traces,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not gentd26.FOLDER.is_dir(), reason="the recorded traces are not beside the checkout"
    ),
]

ALONE = ("keep-alive", "hybrid-histogram", "greedy-dual", "oracle")
HORIZON_MS, GRAIN_MS = 60_000, 2_000
LEAST = 0.01  # cold-start rate; half of it is shown but nothing is held
START_MS = 20_000  # about what a base model takes: half of a start's worth is that there is one


def rows(
    log: Sequence[Request],
    catalog: Catalog,
    capacity_gib: float = math.inf,
    start_ms: int = 0,
) -> list[PolicyRow]:
    capacity = capacity_gib * 1024
    made = (POLICIES[name](catalog, capacity, start_ms) for name in ALONE)
    others = [policy for policies in made for policy in policies]
    ours = PredictivePolicy(
        SCALES, WorthForecast(catalog, HORIZON_MS, GRAIN_MS, start_ms), capacity
    )
    steps = compare(log, catalog, others, ours, capacity_mib=capacity, start_ms=start_ms)
    return [step for step in steps if isinstance(step, PolicyRow)]


def least_cold_s(found: Sequence[PolicyRow], *policies: str) -> float:
    return min(row.cold_start_ms / 1000 for row in found if row.policy in policies)


@pytest.mark.parametrize("start_ms", [0, START_MS])
def test_image_generation_waits_for_fewer_starts_with_the_same_memory(start_ms: int) -> None:
    """And needs less memory for what counts: as short waits, or as few when starts count."""
    log = gentd26.requests()
    found = rows(log, gentd26.catalogue(log), start_ms=start_ms)

    show(found)
    reached = [at for at in advantages(found) if at.cold_start_rate >= LEAST]
    assert len(reached) == 6
    for at in reached:
        assert at.ours_cold_s <= 0.7 * at.cold_s
        valued = at.often_gb_hours if start_ms else at.long_gb_hours
        assert valued <= 0.7 * at.gb_hours


@pytest.mark.parametrize("gib", [16, 32, 64])
def test_image_generation_waits_for_fewer_starts_when_memory_is_bound(gib: int) -> None:
    log = gentd26.requests()
    found = rows(log, gentd26.catalogue(log), gib)

    ours = least_cold_s(found, "foremesh")
    others = least_cold_s(found, "keep-alive", "hybrid histogram", "greedy-dual")
    oracle = least_cold_s(found, "oracle")
    Console().print(f"{gib} GiB: ours {ours:,.0f} s, others {others:,.0f}, oracle {oracle:,.0f}")
    assert ours < others


def test_badges_are_not_warmed_where_it_does_not_pay() -> None:
    log = trace(TRACE)[:120_000]
    catalog = infer(log)
    ours_alone = PredictivePolicy([1.0], WorthForecast(catalog, HORIZON_MS, GRAIN_MS))
    steps = compare(log, catalog, [KeepAlive(0)], ours_alone)

    reactive, ours = [step for step in steps if isinstance(step, PolicyRow)]
    ratio = ours.total_cost / reactive.total_cost
    Console().print(f"badges: {ratio:.4f} of the reactive policy's cost", ours)
    assert ratio <= 1.01
