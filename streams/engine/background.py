"""Background tasks and threads that end together; a failure of one stops the worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from streams.errors import ForemeshError

__all__ = ["BackgroundTasks"]

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class BackgroundTasks:
    """Tasks and threads of one stage."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()
        self._short = ThreadPoolExecutor(8, thread_name_prefix=name)
        self._long = ThreadPoolExecutor(4, thread_name_prefix=f"{name}-long")
        self._crash: Callable[[BaseException], Awaitable[None]] | None = None
        self._failed = False

    @property
    def failed(self) -> bool:
        """Whether one of them has failed: the worker is stopping."""
        return self._failed

    def on_failure(self, crash: Callable[[BaseException], Awaitable[None]]) -> None:
        """Have this stop the worker."""
        self._crash = crash

    def spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        """Run this in the background, guarded; the task."""
        task = asyncio.ensure_future(self.guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def guarded(self, work: Awaitable[None]) -> None:
        """Run this; an exception stops the worker, which must not continue past what failed."""
        try:
            await work
        except Exception as error:
            self._failed = True  # at once: others run while the worker stops
            known = isinstance(error, ForemeshError)  # its message says all there is to know
            trace = None if known else error
            extra = {"action": "worker_stops"}
            logger.error("%s cannot continue: %s", self._name, error, exc_info=trace, extra=extra)  # noqa: TRY400
            if self._crash is not None:
                await self._crash(error)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call what blocks for milliseconds, in a thread."""
        return await _in(self._short, function, *args, **kwargs)

    async def call_long(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call what blocks for seconds, in a thread of the few kept for that."""
        return await _in(self._long, function, *args, **kwargs)

    async def stop(self) -> None:
        """End all tasks; threads end when their calls do."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for pool in (self._short, self._long):
            pool.shutdown(wait=False, cancel_futures=True)


async def _in(
    pool: ThreadPoolExecutor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(pool, lambda: function(*args, **kwargs))
