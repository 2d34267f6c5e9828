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
from streams.cli.compare_report import shown
from streams.cli.console import PrintableConsole
from streams.lab.compare.advantage import advantages
from streams.lab.compare.ledger import HOUR_MS, PolicyLedger
from streams.lab.compare.policies import KeepAlive
from streams.lab.compare.run import OURS, POLICIES, PolicyRow, compare, counted_from, row_of
from streams.lab.compare.staged import PRICES, StagedRuns, within
from streams.records import Request
from streams.records.catalog import Catalog
from streams.settings import Settings

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.traces,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not gentd26.FOLDER.is_dir(), reason="the recorded traces are not beside the checkout"
    ),
]

ALONE = ("keep-alive", "hybrid-histogram", "greedy-dual", "oracle")
LEAST = 0.01  # cold-start rate; half of it is shown but nothing is held


def rows(
    log: Sequence[Request], catalog: Catalog, capacity_gib: float = math.inf
) -> list[PolicyRow]:
    capacity = capacity_gib * 1024
    made = (POLICIES[name](catalog, capacity) for name in ALONE)
    others = [policy for policies in made for policy in policies]
    steps = compare(log, catalog, others, capacity_mib=capacity)
    return [step for step in steps if isinstance(step, PolicyRow)] + [
        row_of(OURS, f"{price:g}", account)
        for price, account in zip(PRICES, staged(log, within(catalog, capacity)), strict=True)
    ]


def staged(
    log: Sequence[Request], catalog: Catalog, prices: Sequence[float] = PRICES
) -> list[PolicyLedger]:
    *_, found = StagedRuns(log, catalog, counted_from(log, 0.3), Settings()).run(prices)
    assert isinstance(found, list)
    return found


def least_cold_s(found: Sequence[PolicyRow], *policies: str) -> float:
    return min(row.cold_start_ms / 1000 for row in found if row.policy in policies)


def test_image_generation_waits_for_fewer_starts_with_the_same_memory() -> None:
    log = gentd26.requests()
    found = rows(log, gentd26.catalogue(log))

    PrintableConsole().print(
        *shown(found, hours=(log[-1].at_ms - counted_from(log, 0.3)) / HOUR_MS)
    )
    reached = [at for at in advantages(found) if at.cold_start_rate >= LEAST]
    assert len(reached) == 6
    for at in reached:
        assert at.ours_cold_s <= 0.75 * at.cold_s


@pytest.mark.parametrize("gib", [16, 32, 64])
def test_image_generation_waits_for_fewer_starts_when_memory_is_bound(gib: int) -> None:
    log = gentd26.requests()
    found = rows(log, gentd26.catalogue(log), gib)

    ours = least_cold_s(found, "foremesh")
    others = least_cold_s(found, "keep-alive", "hybrid histogram", "greedy-dual")
    oracle = least_cold_s(found, "oracle, no pre-warming")
    Console().print(f"{gib} GiB: ours {ours:,.0f} s, others {others:,.0f}, oracle {oracle:,.0f}")
    assert ours < others


def test_badges_are_not_warmed_where_it_does_not_pay() -> None:
    log = trace(TRACE)[:120_000]
    catalog = infer(log)
    (reactive,) = [
        step for step in compare(log, catalog, [KeepAlive(0)]) if isinstance(step, PolicyRow)
    ]
    (account,) = staged(log, within(catalog, math.inf), [1.0])
    ours = row_of(OURS, "", account)
    ratio = ours.total_cost / reactive.total_cost
    Console().print(f"badges: {ratio:.4f} of the reactive policy's cost", ours)
    assert ratio <= 1.01
