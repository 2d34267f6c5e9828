"""The sections of the page: what each reads, and what its template is given."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from streams.allocator.valuation.catalog_index import FALLBACK
from streams.dashboard.changes import difference
from streams.dashboard.database import Row
from streams.dashboard.pool_picture import picture
from streams.dashboard.prices import PriceList
from streams.dashboard.sources import FactSources
from streams.dashboard.spans import Span, TimeSteps
from streams.dashboard.timers import Compared, ServedConstituent, compare
from streams.dashboard.traffic import money, traffic
from streams.dashboard.trust import FEW, sureness, trust

__all__ = ["SECTIONS", "PageSection", "PageView"]

MOST_USES = 2_000  # requests that are held against timers
MOST_DECISIONS = 25
MOST_USERS = 12
MOST_SAID = 6
MOST_VECTORS = 1_200  # that are held against what came
MINUTE_MS = 60_000
RECENT_MS = 5 * MINUTE_MS  # what counts as now
DAY_MS = 86_400_000
EVEN = 0.02  # costs that differ by less are said to be about the same


@dataclass(frozen=True, slots=True, kw_only=True)
class PageView:
    """What a page looks at."""

    pool: str
    span: Span
    now_ms: int | None  # the newest event time; None: nothing has happened yet
    wall_ms: int
    who: str = ""  # user names from here on; empty: those who asked last

    @property
    def steps(self) -> TimeSteps:
        """The steps of its span."""
        return TimeSteps.of(self.span, self.now_ms or self.wall_ms)

    @property
    def given(self) -> dict[str, Any]:
        """Parameters of queries."""
        steps = self.steps
        return {"pool": self.pool, "from_ms": steps.from_ms, "now_ms": steps.now_ms}


Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PageSection:
    """A part of the page that is drawn and sent by itself."""

    name: str
    title: str
    fresh_s: float  # for how long what was read is shown again
    read: Callable[[FactSources, PageView], Awaitable[Facts]]


async def _verdict(sources: FactSources, view: PageView) -> Facts:
    db, given = sources.database, view.given
    uses, starts = await asyncio.gather(
        db.rows("uses", **given, most=MOST_USES), db.rows("start_times", **given)
    )
    from_ms = uses[0]["at_ms"] if uses else given["from_ms"]
    warm = await db.rows("warm_time", **{**given, "from_ms": from_ms}, step_ms=DAY_MS)
    used = {service for row in uses for service in row["services"]}
    prices = await _prices(sources, view, used | {row["service"] for row in warm})
    constituents = dict(_constituents(sources, starts))
    found = await asyncio.to_thread(compare, uses, warm, constituents, prices, given["now_ms"])
    known = found is not None and prices.weights is not None
    return {
        "compared": found if known else None,
        "missing": "" if known else _missing(found, prices),
        "unpriced": sorted(prices.lacks(used)),
        "unweighted": sorted({row["tier"] for row in uses} - sources.catalog.tiers.keys()),
        "assumed": FALLBACK.weight,
        "than_timer": _relation(found.ours.total, found.timer.total) if found else "",
        "than_none": _relation(found.ours.total, found.none.total) if found else "",
        "few": FEW,
    }


def _constituents(
    sources: FactSources, starts: Iterable[Row]
) -> Iterator[tuple[str, ServedConstituent]]:
    """How constituents start and serve: as the catalogue says, and as was measured."""
    known, serve_ms = sources.catalog.constituents, float(sources.settings.serve_ms)
    start_ms = {name: float(entry.warm_up_ms) for name, entry in known.items()}
    start_ms |= {row["service"]: row["start_ms"] for row in starts}
    for name, start in start_ms.items():
        exclusive = name in known and known[name].concurrency == 1
        yield name, ServedConstituent(start_ms=start, serve_ms=serve_ms, exclusive=exclusive)


def _missing(found: Compared | None, prices: PriceList) -> str:
    if found is None:
        return "nobody has asked for anything in this time"
    if prices.weights is None:
        return "no catalogue is known, so nobody has said what waiting costs"
    return ""


def _relation(ours: float, other: float) -> str:
    if abs(ours - other) <= EVEN * max(ours, other):
        return "even"
    return "less" if ours < other else "more"


async def _prices(sources: FactSources, view: PageView, services: set[str]) -> PriceList:
    """The catalogue's prices; of what it lacks, those that were reckoned with last."""
    lacking = sorted(services - sources.catalog.constituents.keys())
    given = {"pool": view.pool, "now_ms": view.given["now_ms"]}
    rows = await sources.database.rows("grounds", **given, services=lacking) if lacking else []
    return PriceList.of(sources.catalog, rows)


async def _traffic(sources: FactSources, view: PageView) -> Facts:
    steps, now_ms = view.steps, view.given["now_ms"]
    since_ms = now_ms - now_ms % MINUTE_MS - RECENT_MS
    recent = {"pool": view.pool, "from_ms": since_ms, "now_ms": now_ms}
    rows, newest = await asyncio.gather(
        sources.database.rows("traffic", **view.given, step_ms=steps.step_ms),
        sources.database.rows("traffic", **recent, step_ms=RECENT_MS),
    )
    found, asked = traffic(rows, steps), sum(row["requests"] for row in newest)
    hits = sum(row["hits"] for row in newest)
    return {
        "traffic": found,
        "now_per_minute": asked * MINUTE_MS / (now_ms - since_ms) if view.now_ms else None,
        "now_hit": 100 * hits / asked if asked else None,
        "chart": [found.seconds, found.per_minute, found.hit_rate],
    }


async def _money(sources: FactSources, view: PageView) -> Facts:
    steps = view.steps
    requests, warm = await asyncio.gather(
        sources.database.rows("traffic", **view.given, step_ms=steps.step_ms),
        sources.database.rows("warm_time", **view.given, step_ms=steps.step_ms),
    )
    # A span of warm time may begin before the first step.
    warm = [row for row in warm if steps.place(row["at_ms"]) >= 0]
    prices = await _prices(sources, view, {row["service"] for row in warm})
    found = money(requests, warm, prices, steps)
    trial = await sources.database.rows("trial", pool=view.pool)
    chart = [found.seconds, found.saved, found.spent]
    return {
        "money": found,
        "known": prices.weights is not None,
        "empty": not (requests or warm),
        "hours": steps.hours,
        "trial": trial,
        "chart": chart,
    }


async def _pool(sources: FactSources, view: PageView) -> Facts:
    db, given = sources.database, {"pool": view.pool, "now_ms": view.given["now_ms"]}
    states, waiting, capacity = await asyncio.gather(
        db.rows("states", pool=view.pool),
        db.rows("waiting", **given),
        db.rows("capacity", **given),
    )
    shown = sorted({row["service"] for row in (*states, *waiting)})
    grounds = await db.rows("grounds", **given, services=shown)
    control = sources.control(view.pool)
    return {
        "picture": picture(
            states, waiting, grounds, capacity[0] if capacity else None, sources.catalog
        ),
        "pins": control.limits(view.given["now_ms"]) if control else {},
    }


async def _decisions(sources: FactSources, view: PageView) -> Facts:
    given = {"pool": view.pool, "now_ms": view.given["now_ms"], "most": MOST_DECISIONS}
    return {"decisions": await sources.database.rows("decisions", **given)}


async def _trust(sources: FactSources, view: PageView) -> Facts:
    steps = view.steps
    most = max(1, MOST_VECTORS // len(steps.starts))
    rows = await sources.database.rows("promises", **view.given, step_ms=steps.step_ms, most=most)
    return {"trust": trust(rows), "few": FEW}


async def _users(sources: FactSources, view: PageView) -> Facts:
    db = sources.database
    if view.who:
        rows = await db.rows("vectors_from", name=view.who, most=MOST_USERS)
    else:
        given = {"pool": view.pool, "now_ms": view.given["now_ms"]}
        rows = await db.rows("vectors_of_late", **given, most=MOST_USERS)
    for row in rows:
        row["sureness"], row["first"] = sureness(row["probabilities"], row["unseen"])
        row["over"] = row["expires_ms"] < view.given["now_ms"]
    return {"users": rows}


async def _health(sources: FactSources, view: PageView) -> Facts:
    letters = await sources.database.rows("dead")
    parts = sources.health.parts
    behind = view.wall_ms - view.now_ms if view.now_ms is not None else None
    return {
        "parts": parts,
        "asked_ms": sources.health.asked_ms,
        "wrong": [part for part in parts or () if not part.ok],
        "letters": letters,
        "behind_ms": behind if behind is not None and behind > RECENT_MS else None,
    }


async def _control(sources: FactSources, view: PageView) -> Facts:
    rows = await sources.database.rows("said", pool=view.pool, most=MOST_SAID + 1)
    for after, before in zip_longest(rows, rows[1:]):
        after["words"] = difference(before, after)
    return {"control": sources.control(view.pool), "said": rows[:MOST_SAID]}


SECTIONS: Mapping[str, PageSection] = {
    section.name: section
    for section in (
        PageSection("verdict", "Are we better than a timer?", 10.0, _verdict),
        PageSection("health", "Is anything wrong?", 2.0, _health),
        PageSection("traffic", "Requests and hits", 2.0, _traffic),
        PageSection("money", "Saved and spent", 5.0, _money),
        PageSection("pool", "What is warm, and why?", 1.0, _pool),
        PageSection("decisions", "Decisions", 1.5, _decisions),
        PageSection("trust", "Can predictions be trusted?", 20.0, _trust),
        PageSection("users", "Who asks for what next", 3.0, _users),
        PageSection("control", "What operators said", 1.0, _control),
    )
}
