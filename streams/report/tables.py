"""A summary as tables for people, and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from streams.report.summary import (
    FlowSummary,
    InstanceTime,
    LatencySample,
    PoolSummary,
    RequestSummary,
)
from streams.report.text_table import NAME, NUMBER, TextTable

__all__ = ["UNKNOWN", "as_json", "iso_time", "tables"]

UNKNOWN = "not known from a log"
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}  # of latencies in ms


OF_REQUESTS = (
    "Hits found all instances warm, partials some, misses none; saved: starts that warm instances"
    " spared, waited: starts that requests waited for."
)
OF_LATENCY = "Half, 95 and 99 of 100 requests were served within these times."
OF_INSTANCES = "Warm: the time of all instances together."
OF_USE = "Warm: the time of all instances together; used: while they served; the rest is wasted."


def tables(summary: FlowSummary) -> Iterator[TextTable | Text]:
    """The tables of a report: requests, latency, by service, by tier, and instances.

    Below them stands what is not known of requests that were read from a log. Of nothing there is
    no table.
    """
    if not summary.pools:
        yield Text("There is no request and no instance.\n")
        return
    span = f"{iso_time(summary.from_ms)} to {iso_time(summary.to_ms)}"
    requests = {**REQUESTS, **REFUSED}
    yield _table(
        f"Requests, {span}", summary, requests, lambda pool: {"": pool.total}, legend=OF_REQUESTS
    )
    if any(_latencies(pool) for pool in summary.pools.values()):
        yield _table("Latency", summary, LATENCY, _latencies, legend=OF_LATENCY, name="result")
    yield from _unknown(
        "Latency", summary, lambda pool: bool(pool.latency and not _latencies(pool))
    )
    yield _table(
        "By service",
        summary,
        REQUESTS,
        lambda pool: pool.services,
        legend=_waits(summary, lambda pool: pool.services),
        name="service",
    )
    yield _table(
        "By tier",
        summary,
        REQUESTS,
        lambda pool: pool.tiers,
        legend=_waits(summary, lambda pool: pool.tiers),
        name="tier",
    )
    yield from _instance_tables(summary)


def _instance_tables(summary: FlowSummary) -> Iterator[TextTable | Text]:
    measured = any(pool.instances.used_s is not None for pool in summary.pools.values())
    columns, legend = ({**WARM, **USED}, OF_USE) if measured else (WARM, OF_INSTANCES)
    yield _table(
        "Time of instances by constituent",
        summary,
        columns,
        lambda pool: _with_all(pool.instances_by_service, pool.instances),
        legend=legend,
        name="constituent",
    )
    yield _table(
        "Time of instances by tier",
        summary,
        columns,
        lambda pool: pool.instances_by_tier,
        legend=legend,
        name="tier",
    )
    yield from _unknown("Used and wasted", summary, lambda pool: pool.instances.used_s is None)


def _unknown(
    what: str, summary: FlowSummary, missing: Callable[[PoolSummary], bool]
) -> Iterator[Text]:
    """Say of which pools a log does not tell something."""
    names = [name for name, pool in summary.pools.items() if missing(pool)]
    if names:
        pools = "pools" if len(names) > 1 else "pool"
        yield Text(f"{what} of {pools} {', '.join(names)}: {UNKNOWN}.\n")


def _waits(
    summary: FlowSummary, groups: Callable[[PoolSummary], Mapping[str, RequestSummary]]
) -> str:
    """Where requests waited longest for starts."""
    waited_ms = {
        f"{name or '-'} in {pool_name}": group.cold_ms
        for pool_name, pool in summary.pools.items()
        for name, group in groups(pool).items()
    }
    most = max(waited_ms, key=waited_ms.__getitem__, default="")
    if not waited_ms or not waited_ms[most]:
        return "No request waited for a start."
    return f"Requests waited longest for {most}: {waited_ms[most] / 1000:,.1f} s."


def _latencies(pool: PoolSummary) -> Mapping[str, LatencySample]:
    measured = {name: sample for name, sample in pool.latency.items() if len(sample)}
    return {**measured, "all served": pool.total.latency} if measured else {}


def _with_all(
    groups: Mapping[str, InstanceTime], together: InstanceTime
) -> Mapping[str, InstanceTime]:
    return {**groups, "all": together} if groups else groups


def _table(
    title: str,
    summary: FlowSummary,
    columns: Mapping[str, Callable[[Any], str]],
    rows: Callable[[PoolSummary], Mapping[str, Any]],
    *,
    legend: str,
    name: str = "",
) -> TextTable:
    names = ("pool", name) if name else ("pool",)
    return TextTable(
        title=title,
        columns=dict.fromkeys(names, NAME) | dict.fromkeys(columns, NUMBER),
        rows=[
            (*(pool_name, row_name or "-")[: len(names)], *(show(of) for show in columns.values()))
            for pool_name, pool in summary.pools.items()
            for row_name, of in rows(pool).items()
        ],
        legend=legend,
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _share(part: float | None, whole: float) -> str:
    return f"{100 * part / whole:.1f}" if part is not None and whole else "-"


REQUESTS: Mapping[str, Callable[[RequestSummary], str]] = {
    "requests": lambda r: f"{r.count:,}",
    "hit %": lambda r: _share(r.hits, r.count),
    "partial %": lambda r: _share(r.partials, r.count),
    "miss %": lambda r: _share(r.misses, r.count),
    "saved s": lambda r: _number(r.saved_ms / 1000),
    "waited s": lambda r: _number(r.cold_ms / 1000),
}
REFUSED: Mapping[str, Callable[[RequestSummary], str]] = {"refused": lambda r: f"{r.refused:,}"}
LATENCY: Mapping[str, Callable[[LatencySample], str]] = {
    "requests": lambda sample: f"{len(sample):,}",
    "p50 ms": lambda sample: _number(sample.quantile(QUANTILES["p50"])),
    "p95 ms": lambda sample: _number(sample.quantile(QUANTILES["p95"])),
    "p99 ms": lambda sample: _number(sample.quantile(QUANTILES["p99"])),
}
WARM: Mapping[str, Callable[[InstanceTime], str]] = {
    "instances": lambda t: f"{t.instances:,}",
    "warm s": lambda t: _number(t.warm_s),
}
USED: Mapping[str, Callable[[InstanceTime], str]] = {
    "used s": lambda t: _number(t.used_s),
    "wasted s": lambda t: _number(t.wasted_s),
    "used %": lambda t: _share(t.used_s, t.warm_s),
}


def as_json(summary: FlowSummary) -> dict[str, Any]:
    """The summary as plain values; times in ISO 8601, None of nothing; rates from 0 to 1."""
    return {
        "from": iso_time(summary.from_ms) if summary.pools else None,
        "to": iso_time(summary.to_ms) if summary.pools else None,
        "pools": {name: _pool(pool) for name, pool in summary.pools.items()},
    }


def _pool(pool: PoolSummary) -> dict[str, Any]:
    return {
        **_requests(pool.total),
        "latency_ms_by_result": {name: _latency(sample) for name, sample in pool.latency.items()},
        "services": {name: _requests(group) for name, group in pool.services.items()},
        "tiers": {name: _requests(group) for name, group in pool.tiers.items()},
        "instances": {
            **_instances(pool.instances),
            "services": {n: _instances(t) for n, t in pool.instances_by_service.items()},
            "tiers": {n: _instances(t) for n, t in pool.instances_by_tier.items()},
        },
    }


def _requests(r: RequestSummary) -> dict[str, Any]:
    counts = {"hit": r.hits, "partial": r.partials, "miss": r.misses}
    return {
        "requests": r.count,
        **{f"{name}_rate": n / r.count if r.count else None for name, n in counts.items()},
        "refused": r.refused,
        "saved_ms": r.saved_ms,
        "waited_ms": r.cold_ms,
        "latency_ms": _latency(r.latency),
    }


def _latency(sample: LatencySample) -> dict[str, Any]:
    return {"requests": len(sample), **{name: sample.quantile(q) for name, q in QUANTILES.items()}}


def _instances(t: InstanceTime) -> dict[str, Any]:
    return {
        "instances": t.instances,
        "warm_s": t.warm_s,
        "used_s": t.used_s,
        "wasted_s": t.wasted_s,
    }


def iso_time(ms: int) -> str:
    """A time since the epoch in ISO 8601, or in ms when it is beyond the calendar."""
    try:
        return datetime.fromtimestamp(ms // 1000, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"
