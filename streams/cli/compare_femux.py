"""`foremesh compare --table femux`: FeMux's workload under published policies, timers and foremesh."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from streams.cli.console import PrintableConsole
from streams.lab.compare.femux import (
    FEMUX,
    FORESEEN,
    KEEP_ALIVE,
    OURS,
    FemuxScore,
    read,
    scores,
)
from streams.settings import Settings

__all__ = ["show_femux", "verdict"]


def show_femux(path: Path, settings: Settings) -> list[dict[str, Any]]:
    """Run the protocol, print its table and what follows; returns the rows, for programs."""
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
    console = PrintableConsole()
    console.print(_table(total, len(days)), Text(verdict(total)))
    return [
        {"table": "femux", "policy": policy, "cold": s.cold, "gb_s": s.gbs, "rum": s.rum}
        for policy, s in total.items()
    ]


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


def _table(total: Mapping[str, FemuxScore], applications: int) -> Table:
    title = f"{applications} applications of one day; RUM: lower is better"
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title=title, title_justify="left")
    table.add_column("policy")
    for name in ("cold starts", "GB-s allocated", "RUM"):
        table.add_column(name, justify="right", no_wrap=True)
    for policy, score in sorted(total.items(), key=lambda item: -item[1].rum):
        table.add_row(policy, f"{score.cold:,.0f}", f"{score.gbs:,.0f}", f"{score.rum:,.0f}")
    return table
