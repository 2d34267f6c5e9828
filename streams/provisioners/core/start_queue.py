"""The queue of starts: a bounded number at once, those that requests wait for first.

A start that forks from a base runs once the base is warm. If the base has not begun to start, the
worker starts the base in its place and queues the fork again; if the base is starting, the worker
goes on with other starts. So a limit of one start at a time cannot deadlock.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from streams.provisioners.core.ledger import HeldInstance

__all__ = ["StartBackoff", "StartQueue"]


class StartQueue:
    """A priority queue of starts and the tasks that work it off."""

    def __init__(self, start: Callable[[HeldInstance], Awaitable[None]], at_once: int) -> None:
        self._start = start
        self._queue: asyncio.PriorityQueue[tuple[int, int, HeldInstance]] = asyncio.PriorityQueue()
        self._order = itertools.count()
        self._tasks = [asyncio.create_task(self._work()) for _ in range(at_once)]

    def put(self, held: HeldInstance) -> None:
        """Queue a start."""
        self._queue.put_nowait((0 if held.urgent else 1, next(self._order), held))

    def expedite(self, held: HeldInstance) -> None:
        """Move a start that a request waits for, and the base that it needs, to the front."""
        if held.base is not None:
            self.expedite(held.base)
        if not (held.start_begun or held.urgent):
            held.urgent = True
            self.put(held)  # queued twice: the worker skips the later entry

    async def close(self) -> None:
        """Stop the workers; nothing is started any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _put_after(self, base: HeldInstance, entry: tuple[int, int, HeldInstance]) -> None:
        """Queue an entry again, with its old priority, once its base is warm or has failed."""
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
            if not (held.start_begun or held.ready.done()):
                held.start_begun = True
                await self._start(held)


class StartBackoff:
    """Exponential back-off of constituents whose starts fail."""

    def __init__(self, first_ms: int, most_ms: int = 60_000) -> None:
        self._first_ms = first_ms
        self._most_ms = most_ms
        self._failures: dict[str, tuple[int, int]] = {}  # consecutive failures, pause until

    def failed(self, service: str, now_ms: int) -> None:
        """Count a failed start and extend the pause."""
        failures = self._failures.get(service, (0, 0))[0] + 1
        pause_ms = min(self._first_ms * 2 ** min(failures - 1, 16), self._most_ms)
        self._failures[service] = (failures, now_ms + pause_ms)

    def succeeded(self, service: str) -> None:
        """Reset the back-off after a start that succeeded."""
        self._failures.pop(service, None)

    def until(self, service: str) -> int:
        """Return the end of the pause, milliseconds since the epoch; 0 when there is none."""
        return self._failures.get(service, (0, 0))[1]
