"""The page as it changes: each section is read at most so often, however many look at it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from streams.dashboard.page import render
from streams.dashboard.sections import SECTIONS, PageSection, PageView
from streams.dashboard.sources import FactSources
from streams.dashboard.spans import SPANS, Span
from streams.errors import ForemeshError
from streams.records.catalog import Catalog
from streams.runtime.clock import wall_ms

__all__ = ["Fragment", "LivePage", "Look"]

_log = logging.getLogger(__name__)

CLOCK_S = 0.5
LOOK_S = 1.0  # how often a stream looks for what has changed
MOST_KEPT = 256  # fragments
LONG_S = 60.0  # after which what was is not shown in place of what is
FUTURE_MS = 60_000  # a clock that is so far ahead is believed


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What somebody wants to see."""

    pool: str
    span: Span = SPANS["1h"]
    who: str = ""


@dataclass(frozen=True, slots=True)
class Fragment:
    """A section as HTML."""

    section: PageSection
    html: str


@dataclass(slots=True)
class _KeptTask:
    """What was read last, or is being read."""

    task: asyncio.Task[str]
    catalog: Catalog  # that it was read with
    before: str | None = None  # what it was, when that is not long ago
    since_s: float = field(default_factory=time.monotonic)


class LivePage:
    """Makes fragments of the page, and says which have changed.

    Parameters
    ----------
    sources
        Where facts come from.
    """

    def __init__(self, sources: FactSources) -> None:
        self._sources = sources
        self._kept: dict[tuple[str, Look], _KeptTask] = {}
        self._clocks: dict[str, tuple[float, int | None]] = {}

    async def pools(self) -> list[str]:
        """The names of the pools that something is known of, in order."""
        known = set(self._sources.catalog.pools)
        with suppress(ForemeshError):  # each section says so
            known |= {row["pool"] for row in await self._sources.database.rows("pools")}
        return sorted(known)

    async def now_ms(self, pool: str) -> int | None:
        """The newest event time of a pool."""
        kept = self._clocks.get(pool)
        if kept is None or time.monotonic() - kept[0] > CLOCK_S:
            rows = await self._sources.database.rows(
                "clock", pool=pool, wall_ms=wall_ms() + FUTURE_MS
            )
            kept = time.monotonic(), rows[0]["now_ms"]
            self._clocks = {pool: kept} if len(self._clocks) > MOST_KEPT else self._clocks
            self._clocks[pool] = kept
        return kept[1]

    async def fragment(
        self, section: PageSection, look: Look, patience_s: float | None = None
    ) -> Fragment:
        """A section as it is; when it is not read in time, as it was, or that it is being read."""
        kept = self._keep(section, look)
        done, _ = await asyncio.wait([kept.task], timeout=patience_s)
        if done:
            return Fragment(section, kept.task.result())
        return Fragment(section, kept.before or _missing(section, "it is being read"))

    async def fragments(self, look: Look, patience_s: float) -> list[Fragment]:
        """All sections."""
        return await asyncio.gather(
            *(self.fragment(section, look, patience_s) for section in SECTIONS.values())
        )

    async def changes(self, look: Look) -> AsyncIterator[list[Fragment]]:
        """The sections that are not as they were sent before, again and again; for ever."""
        sent: dict[str, str] = {}
        while True:
            found = await self.fragments(look, LOOK_S)
            changed = [one for one in found if sent.get(one.section.name) != one.html]
            sent |= {one.section.name: one.html for one in changed}
            yield changed
            await asyncio.sleep(LOOK_S)

    def _keep(self, section: PageSection, look: Look) -> _KeptTask:
        key = section.name, look
        kept, now_s = self._kept.get(key), time.monotonic()
        catalog = self._sources.catalog
        if kept is None or (kept.task.done() and _is_old(kept, section, catalog, now_s)):
            self._forget()
            young = kept is not None and now_s - kept.since_s < LONG_S
            before = kept.task.result() if kept is not None and young else None
            kept = _KeptTask(asyncio.ensure_future(self._read(section, look)), catalog, before)
            self._kept[key] = kept
        return kept

    def _forget(self) -> None:
        """Drop the oldest that are done, when there are many."""
        if len(self._kept) > MOST_KEPT:
            done = [key for key, kept in self._kept.items() if kept.task.done()]
            for key in done[: MOST_KEPT // 2]:  # in the order in which they came
                del self._kept[key]

    async def _read(self, section: PageSection, look: Look) -> str:
        try:
            view = PageView(
                pool=look.pool,
                span=look.span,
                now_ms=await self.now_ms(look.pool),
                wall_ms=wall_ms(),
                who=look.who,
            )
            facts = await section.read(self._sources, view)
            return render(f"{section.name}.html", section=section, view=view, **facts)
        except ForemeshError as error:
            return _missing(section, str(error))
        except Exception as error:  # noqa: BLE001  # the other sections are to be seen none the less
            _log.exception(
                "The section %s failed", section.name, extra={"action": "section_failed"}
            )
            return _missing(section, f"an error that nobody foresaw, see the log ({error!r})")


def _is_old(kept: _KeptTask, section: PageSection, catalog: Catalog, now_s: float) -> bool:
    """Whether a section is to be read again: after a while, and with another catalogue."""
    return now_s - kept.since_s > section.fresh_s or kept.catalog is not catalog


def _missing(section: PageSection, why: str) -> str:
    return render("missing.html", section=section, why=why)
