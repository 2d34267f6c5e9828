"""When a pool is to be decided on again though nothing comes."""

from __future__ import annotations

from collections.abc import Iterator

from streams.allocator.config import AllocatorConfig
from streams.allocator.state import PoolState

__all__ = ["next_decision_ms"]

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS


def next_decision_ms(row: PoolState, config: AllocatorConfig, *also: int) -> int:
    """The earliest time after the last decision at which another one may decide otherwise.

    Parameters
    ----------
    row
        The pool after that decision.
    also
        Further times; 0 for none.

    Returns
    -------
    In ms; 0 if no such time is known.
    """
    times = (*also, *_ends(row), *_waits(row, config), *_edges(row))
    return min((ms for ms in times if ms > row.now_ms), default=0)


def _ends(row: PoolState) -> Iterator[int]:
    """When commands expire, and when instances may be preempted that could not be until then."""
    yield from (start.expires_ms for start in row.starting.values())
    yield from (release.expires_ms for release in row.releasing.values())
    yield from (queued.expires_ms for queued in row.queue.values())
    yield from row.held.values()


def _waits(row: PoolState, config: AllocatorConfig) -> Iterator[int]:
    """When what does not pay has not paid for long enough, and what is queued is starved."""
    yield from (since_ms + row.champion.settle_ms for since_ms in row.below.values())
    yield from (queued.since_ms + config.starve_ms for queued in row.queue.values())


def _edges(row: PoolState) -> Iterator[int]:
    """When pins begin and end."""
    midnight_ms = row.now_ms - row.now_ms % DAY_MS
    for pin in row.control.pins if row.control else ():
        for minute in (pin.from_minute, pin.until_minute):
            today_ms = midnight_ms + minute * MINUTE_MS
            yield today_ms if today_ms > row.now_ms else today_ms + DAY_MS
