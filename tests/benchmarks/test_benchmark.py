"""`make bench`: one run, one table, and `build/bench.json`.

FOREMESH_BENCH_ROUNDS and FOREMESH_BENCH_SCALE (a factor on all counts) make it shorter.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from statistics import median
from typing import Any

import figures
import pytest
from driver import CHECKOUT, quix_environment, throughput
from rich.console import Console
from rich.table import Table
from work import CASES

from streams.settings import Settings

ROUNDS = int(os.environ.get("FOREMESH_BENCH_ROUNDS", "3"))
SCALE = float(os.environ.get("FOREMESH_BENCH_SCALE", "1"))
USERS = 1_000
# So many that the last save, up to half a second, hardly counts; and of the profiler, whose steps
# depend on what it has learnt, as many for the limit as for those measured against it.
COUNTS = {"foremesh": 400_000, "quixstreams": 200_000, "stock": 10_000}
PROFILER = {"foremesh": 60_000, "quixstreams": 60_000, "stock": 5_000, "limit": 60_000}


@pytest.mark.benchmark
@pytest.mark.timeout(7_200)
def test_benchmark(settings: Settings) -> None:
    quix_environment()
    base = replace(settings, commit_ms=500, session_ms=6_000, clock="event")
    rows = races(base)
    best = {(row["case"], row["contender"]): row["median_per_s"] for row in rows}
    capacity = best["profiler", "foremesh"]
    result = {
        "rounds": ROUNDS,
        "rows": rows,
        "ratios": ratios(best),
        "latency": [
            {"share": share, **figures.latency(base, capacity * share)} for share in (0.1, 0.5, 0.8)
        ],
        "state": figures.state_bytes(int(120_000 * SCALE)),
        "recovery_per_s": figures.recovery(base, int(400_000 * SCALE)),
        "cost_us_by_users": figures.cost_by_users((1_000, 100_000, 1_000_000)),
    }
    path = CHECKOUT / "build" / "bench.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    show(result)


def races(base: Settings) -> list[dict[str, Any]]:
    """Each case, each contender, in turn; and that again, so that no one has the better hour."""
    taken: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for case in CASES:
            for contender, count in (PROFILER if case == "profiler" else COUNTS).items():
                per_s = throughput(base, contender, case, int(count * SCALE), USERS)
                taken.setdefault((case, contender), []).append(per_s)
    return [
        {"case": case, "contender": contender, "median_per_s": median(values), "all": values}
        for (case, contender), values in taken.items()
    ]


def ratios(best: dict[tuple[str, str], float]) -> dict[str, float]:
    """What must be reached, within this run."""
    of = {
        f"{case}: foremesh / {other}": best[case, "foremesh"] / best[case, other]
        for case in CASES
        for other in ("quixstreams", "stock")
    }
    return {
        **of,
        "profiler: foremesh / limit": best["profiler", "foremesh"] / best["profiler", "limit"],
    }


def show(result: dict[str, Any]) -> None:
    table = Table("case", "contender", "records/s", title=f"Medians of {ROUNDS} rounds")
    for row in result["rows"]:
        table.add_row(row["case"], row["contender"], f"{row['median_per_s']:,.0f}")
    console = Console()
    console.print(table)
    for name in ("ratios", "latency", "state", "recovery_per_s", "cost_us_by_users"):
        console.print(name, result[name])
