"""Starts, bounded and in order: what a request waits for comes before what is only expected.

What forks from a base is started once that is warm. It leaves its turn to the base when nobody has
begun that, and to others until it is there: so one start at a time is enough for both.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable

from streams.provisioners.core.ledger import HeldInstance

__all__ = ["StartBackoff", "StartQueue", "WakeSignal"]


class WakeSignal:
    """Wakes everybody who waits at that moment, to look again."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def now(self) -> None:
        """Wake them."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, most_s: float) -> None:
        """Wait for the next pulse, or `most_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._event.wait()


class StartQueue:
    """A queue of starts and the few tasks that work on it."""

    def __init__(self, start: Callable[[HeldInstance], Awaitable[None]], at_once: int) -> None:
        self._start = start
        self._queue: asyncio.PriorityQueue[tuple[int, int, HeldInstance]] = asyncio.PriorityQueue()
        self._order = itertools.count()
        self._tasks = [asyncio.create_task(self._work()) for _ in range(at_once)]

    def put(self, held: HeldInstance) -> None:
        """Queue a start."""
        self._queue.put_nowait((0 if held.urgent else 1, next(self._order), held))

    def hurry(self, held: HeldInstance) -> None:
        """A request waits for it now: move it, and the base that it needs, to the front."""
        if held.base is not None:
            self.hurry(held.base)
        if not (held.begun or held.urgent):
            held.urgent = True
            self.put(held)  # the first of its two entries counts

    async def close(self) -> None:
        """Start nothing any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _put_after(self, base: HeldInstance, entry: tuple[int, int, HeldInstance]) -> None:
        """Queue a start again, in its old place, once its base is there or has failed."""
        base.ready.add_done_callback(lambda _: self._queue.put_nowait(entry))

    async def _work(self) -> None:
        while True:
            entry = await self._queue.get()
            held = entry[-1]
            if held.ready.done():
                continue
            base = held.base
            if base is not None and not base.ready.done():
                self._put_after(base, entry)
                held = base
            if not (held.begun or held.ready.done()):
                held.begun = True
                await self._start(held)


class StartBackoff:
    """Services whose starts fail are given a pause, doubled each time."""

    def __init__(self, first_ms: int, most_ms: int = 60_000) -> None:
        self._first_ms = first_ms
        self._most_ms = most_ms
        self._failed: dict[str, tuple[int, int]] = {}

    def failed(self, service: str, now_ms: int) -> None:
        """A start failed."""
        times = self._failed.get(service, (0, 0))[0] + 1
        pause = min(self._first_ms * 2 ** min(times - 1, 16), self._most_ms)
        self._failed[service] = (times, now_ms + pause)

    def succeeded(self, service: str) -> None:
        """A start succeeded: all is forgiven."""
        self._failed.pop(service, None)

    def until(self, service: str) -> int:
        """When it may be started again, milliseconds since the epoch."""
        return self._failed.get(service, (0, 0))[1]
