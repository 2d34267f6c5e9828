"""`foremesh compare --table femux`: FeMux's workload under published policies, timers and foremesh."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import Progress
from rich.text import Text

from streams.cli.console import PrintableConsole
from streams.cli.output import tell
from streams.lab.compare.femux import (
    FEMUX,
    FORESEEN,
    KEEP_ALIVE,
    OURS,
    FemuxScore,
    read,
    scores,
)
from streams.report.text_table import NAME, NUMBER, TextTable
from streams.settings import Settings

__all__ = ["show_femux", "table_of", "verdict"]

DAY_HOURS = 24.0


def show_femux(path: Path, settings: Settings, output: str) -> list[dict[str, Any]]:
    """Run the protocol and tell its result; returns the rows."""
    days, total = read(path), dict[str, FemuxScore]()
    run = partial(scores, settings=settings)
    with (
        Progress(console=PrintableConsole(stderr=True)) as bar,
        multiprocessing.get_context("forkserver").Pool() as pool,
    ):
        found = pool.imap(run, days)
        for by_policy in bar.track(found, total=len(days), description="Applications"):
            for policy, score in by_policy.items():
                total[policy] = total.get(policy, FemuxScore()) + score
    rows = [
        {"table": "femux", "policy": policy, "cold_starts": s.cold, "gb_s": s.gbs, "rum": s.rum}
        for policy, s in total.items()
    ]
    facts = {"policies": rows, "hours": DAY_HOURS, "verdict": verdict(total)}
    tell(output, facts, table_of(total, len(days)), Text(verdict(total)))
    return rows


def verdict(total: Mapping[str, FemuxScore]) -> str:
    """What the scores of all policies say, in words."""
    ours, femux = total[OURS].rum, total[FEMUX].rum
    timers = {name: s.rum for name, s in total.items() if name.startswith(KEEP_ALIVE)}
    best = min(timers, key=timers.__getitem__)
    return (
        f"{OURS} has a RUM of {ours:,.0f}: {_against(ours, femux)} {FEMUX} with {femux:,.0f} as"
        f" published, and {_against(ours, timers[best])} the best of the timers in hindsight,"
        f" {best}, with {timers[best]:,.0f}. Who knows the next minute would have"
        f" {total[FORESEEN].rum:,.0f}. Nothing was trained beforehand."
    )


def _against(ours: float, other: float) -> str:
    return f"{abs(100 * (1 - ours / other)):.0f} % {'below' if ours <= other else 'above'}"


def table_of(total: Mapping[str, FemuxScore], applications: int) -> TextTable:
    """The scores for people, the best last."""
    return TextTable(
        title=f"{applications} applications of one day",
        columns={"policy": NAME, **dict.fromkeys(("cold starts", "GB-s allocated", "RUM"), NUMBER)},
        rows=[
            (policy, f"{score.cold:,.0f}", f"{score.gbs:,.0f}", f"{score.rum:,.0f}")
            for policy, score in sorted(total.items(), key=lambda item: -item[1].rum)
        ],
        legend="RUM weighs waits against allocated memory as the paper does: lower is better.",
    )
