"""A pool at a glance, for a terminal: what the page shows first, as tables of text."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from streams.dashboard.database import ReadingDatabase, Row
from streams.dashboard.pool_picture import ConstituentPicture, picture
from streams.records.catalog import Catalog
from streams.report.tables import iso_time
from streams.report.text_table import NAME, NUMBER, WHOLE, TextTable, counted

__all__ = ["PoolGlance", "as_json", "glance", "tables"]

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
RECENT_MS = 5 * MINUTE_MS
MOST_DECISIONS = 8
SHOWN = 12  # constituents
STATES = ("busy", "warm", "starting", "draining")
ACTIONS = {"provision": "start", "queue": "queue", "release": "release"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolGlance:
    """A pool at a time."""

    pool: str
    now_ms: int | None  # the newest event time; None: nothing has happened yet
    hour: Sequence[Row] = ()  # requests by minute and tier
    constituents: Sequence[ConstituentPicture] = ()
    decisions: Sequence[Row] = ()  # newest first

    def of_last(self, span_ms: int, what: str) -> int:
        """A sum over the requests of so long before the newest event."""
        since_ms = (self.now_ms or 0) - span_ms
        return sum(row[what] for row in self.hour if row["at_ms"] >= since_ms)


async def glance(database: ReadingDatabase, pool: str, wall_ms: int) -> PoolGlance:
    """Look at a pool.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers, not in time, or it lacks a table.
    """
    [clock] = await database.rows("clock", pool=pool, wall_ms=wall_ms)
    now_ms = clock["now_ms"]
    if now_ms is None:
        return PoolGlance(pool=pool, now_ms=None)
    given = {"pool": pool, "now_ms": now_ms}
    hour, states, waiting, decisions = await asyncio.gather(
        database.rows("traffic", **given, from_ms=now_ms - HOUR_MS, step_ms=MINUTE_MS),
        database.rows("states", pool=pool),
        database.rows("waiting", **given),
        database.rows("decisions", **given, most=MOST_DECISIONS),
    )
    shown = sorted({row["service"] for row in (*states, *waiting)})
    grounds = await database.rows("grounds", **given, services=shown)
    drawn = picture(states, waiting, grounds, None, Catalog.of(()))
    return PoolGlance(
        pool=pool, now_ms=now_ms, hour=hour, constituents=drawn.constituents, decisions=decisions
    )


def as_json(seen: PoolGlance) -> dict[str, Any]:
    """The same as plain values."""
    return {
        "pool": seen.pool,
        "now_ms": seen.now_ms,
        "requests": seen.of_last(HOUR_MS, "requests"),
        "hits": seen.of_last(HOUR_MS, "hits"),
        "waited_ms": seen.of_last(HOUR_MS, "cold_ms"),
        "saved_ms": seen.of_last(HOUR_MS, "saved_ms"),
        "recent_requests": seen.of_last(RECENT_MS, "requests"),
        "recent_hits": seen.of_last(RECENT_MS, "hits"),
        "constituents": [
            {
                "service": one.service,
                **{state: one.counts.get(state, 0) for state in STATES},
                "queued": one.queued,
                "why": one.why,
            }
            for one in seen.constituents
        ],
        "decisions": list(seen.decisions),
    }


def tables(seen: PoolGlance) -> Iterator[TextTable | Text]:
    """For people: requests, instances by constituent, the latest decisions."""
    if seen.now_ms is None:
        yield Text(f"Nothing has happened in pool {seen.pool} yet, or `foremesh sink` has not run.")
        return
    yield _requests(seen)
    yield _instances(seen)
    yield _decisions(seen)


def _requests(seen: PoolGlance) -> TextTable:
    spans = {"5 minutes": RECENT_MS, "hour": HOUR_MS}
    heads = ("requests", "hit %", "refused", "waited s", "saved s")
    return TextTable(
        title=f"Pool {seen.pool}, {iso_time(seen.now_ms or 0)}",
        columns={"last": NAME, **dict.fromkeys(heads, NUMBER)},
        rows=[(name, *_figures(seen, span_ms)) for name, span_ms in spans.items()],
        legend="Waited: for starts; saved: starts that warm instances spared.",
    )


def _figures(seen: PoolGlance, span_ms: int) -> Iterator[str]:
    count, hits = seen.of_last(span_ms, "requests"), seen.of_last(span_ms, "hits")
    yield f"{count:,}"
    yield f"{100 * hits / count:.1f}" if count else "-"
    yield f"{seen.of_last(span_ms, 'refused'):,}"
    yield from (f"{seen.of_last(span_ms, what) / 1000:,.1f}" for what in ("cold_ms", "saved_ms"))


def _instances(seen: PoolGlance) -> TextTable:
    heads = (*STATES[:3], "queued")
    left = len(seen.constituents) - SHOWN
    return TextTable(
        columns={"constituent": NAME, **dict.fromkeys(heads, NUMBER), "why": NAME},
        rows=[
            (
                one.service,
                *(f"{one.counts.get(state, 0)}" for state in STATES[:3]),
                f"{one.queued}",
                one.why,
            )
            for one in seen.constituents[:SHOWN]
        ],
        legend=counted(sum(one.there for one in seen.constituents), "instance")
        + " in all"
        + (f"; {counted(left, 'more constituent')} not shown." if left > 0 else "."),
        empty="No instance is there.",
    )


def _decisions(seen: PoolGlance) -> TextTable:
    return TextTable(
        columns={"at, UTC": WHOLE, "did": WHOLE, "constituent": NAME, "why": NAME},
        rows=[
            (
                iso_time(row["issued_ms"])[11:19],
                ACTIONS[row["action"]],
                row["service"],
                row["reason"],
            )
            for row in seen.decisions
        ],
        legend="The latest decisions; `foremesh explain --service S --at T` has the grounds of one.",
        empty="Nothing has been decided yet.",
    )
