"""Concurrent tasks of a process: periodic ones, and several that end together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

__all__ = ["every", "first_to_end"]


async def every(seconds: float, work: Callable[[], Awaitable[Any]]) -> None:
    """Repeat `work` for ever, pausing for `seconds` after each run."""
    while True:
        await work()
        await asyncio.sleep(seconds)


async def first_to_end(work: Iterable[Awaitable[Any]], stop: asyncio.Event) -> None:
    """Run tasks until `stop` is set or one ends, then cancel the rest; raises a task's error."""
    tasks = [asyncio.ensure_future(one) for one in (*work, stop.wait())]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()
