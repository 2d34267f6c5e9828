"""Running a process's event loop until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable

import uvloop

__all__ = ["run", "until_signalled"]


def run(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `work` on uvloop; SIGTERM and SIGINT set the event that it is given."""
    # A garbage collection that traverses all imported modules delays every request by tens of
    # milliseconds, longer than a decision may take.
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_signalled(work))


async def until_signalled(run: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `run` with an event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(stop)
