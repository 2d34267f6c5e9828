"""The results of the demonstration, read back from PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from streams.adapters.postgres.queries import HitCounts, read_history, read_hits
from streams.demo.hit_advantage import HitAdvantage, hit_advantage
from streams.demo.load import LoadResult
from streams.errors import StackFailed
from streams.report.figure import draw
from streams.report.summary import FlowSummary, PoolSummary, summarise
from streams.report.tables import as_json, tables

__all__ = ["show"]


def show(
    console: Console, postgres: str, played: Mapping[str, LoadResult], folder: Path, about: str
) -> None:
    """Print the tables and write `report.json` and `report.png` into `folder`.

    Raises
    ------
    StackFailed
        The number of outcomes in the database is not that of the requests sent.
    """
    history = read_history(postgres)
    outcomes = [outcome for outcome in history.outcomes if outcome.pool in played]
    instances = [instance for instance in history.instances if instance.pool in played]
    summary = summarise(outcomes, instances, history.commands)
    hits = {pool: read_hits(postgres, pool) for pool in played}
    advantage = hit_advantage(outcomes, instances)
    draw(summary, folder / "report.png")
    text = json.dumps({"about": about, **_figures(advantage, hits), **as_json(summary)}, indent=2)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    console.print(*tables(summary), sep="\n")
    console.print(about, *_headlines(summary, hits), *_troubles(played), sep="\n")
    console.print(
        str(advantage) if advantage else "Without both hits and misses there is nothing to compare."
    )
    console.print(
        f"{folder / 'report.png'} shows the results; report.json beside it has all figures."
    )
    _check(summary, played)


def _figures(advantage: HitAdvantage | None, hits: Mapping[str, HitCounts]) -> dict[str, Any]:
    return {
        "hits_against_misses": advantage and {"ahead_ms": advantage.ahead_ms, **asdict(advantage)},
        "hits": {pool: counts._asdict() for pool, counts in hits.items()},
    }


def _headlines(summary: FlowSummary, hits: Mapping[str, HitCounts]) -> list[str]:
    return [f"{name}: {_headline(pool, hits[name])}" for name, pool in summary.pools.items()]


def _headline(pool: PoolSummary, hits: HitCounts) -> str:
    total, latencies = pool.total, pool.latency
    hit, miss = latencies.get("hit"), latencies.get("miss")
    medians = [
        f"{name} {latency.quantile(0.5):,.1f} ms"
        for name, latency in (("hit", hit), ("miss", miss), ("all", total.latency))
        if latency
    ]
    return (
        f"{total.hits} of {total.count} requests found all instances warm,"
        f" {hits.started_before} in instances started before them; median {', '.join(medians)};"
        f" {total.cold_ms / 1000:,.1f} s waited for cold starts;"
        f" {pool.instances.warm_s:,.0f} warm instance-seconds"
    )


def _troubles(played: Mapping[str, LoadResult]) -> Iterator[str]:
    for pool, load in played.items():
        if load.late:
            yield f"{pool}: {load.late} requests were sent late: the machine could not keep up."
        for fault, count in load.faults.items():
            yield f"{pool}: {count} requests ended with {fault}."


def _check(summary: FlowSummary, played: Mapping[str, LoadResult]) -> None:
    for pool, load in played.items():
        outcomes = summary.pools[pool].total.count if pool in summary.pools else 0
        if outcomes != load.sent:
            raise StackFailed(
                f"{load.sent} requests were sent to {pool}, but PostgreSQL has {outcomes} outcomes:"
                " see the logs below build/demo"
            )
