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

from streams.catalog import Catalog
from streams.catalog_infer import infer
from streams.cli.compare import show
from streams.compare.advantage import advantages
from streams.compare.policies import KeepAlive
from streams.compare.predictive import Forecast, Predictive
from streams.compare.run import POLICIES, SCALES, Row, compare
from streams.records import Request

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


def rows(
    log: Sequence[Request],
    catalog: Catalog,
    capacity_gib: float = math.inf,
) -> list[Row]:
    capacity = capacity_gib * 1024
    others = [policy for name in ALONE for policy in POLICIES[name](catalog, capacity)]
    ours = Predictive(SCALES, Forecast(catalog, HORIZON_MS, GRAIN_MS), capacity)
    steps = compare(log, catalog, others, ours, capacity_mib=capacity)
    return [step for step in steps if isinstance(step, Row)]


def least_cold_s(found: Sequence[Row], *policies: str) -> float:
    return min(row.cold_start_ms / 1000 for row in found if row.policy in policies)


def test_image_generation_waits_for_fewer_starts_with_the_same_memory() -> None:
    log = gentd26.requests()
    found = rows(log, gentd26.catalogue(log))

    show(found)
    reached = [at for at in advantages(found) if not math.isnan(at.gb_hours)]
    assert len(reached) >= 5
    for at in reached:
        assert at.ours_cold_s <= 0.7 * at.cold_s
        assert at.long_gb_hours <= 0.7 * at.gb_hours


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
    ours_alone = Predictive([1.0], Forecast(catalog, HORIZON_MS, GRAIN_MS))
    steps = compare(log, catalog, [KeepAlive(0)], ours_alone)

    reactive, ours = [step for step in steps if isinstance(step, Row)]
    ratio = ours.total_cost / reactive.total_cost
    Console().print(f"badges: {ratio:.4f} of the reactive policy's cost", ours)
    assert ratio <= 1.01
