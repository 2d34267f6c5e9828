"""How the processes of the mesh run."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable

import uvloop

from streams.provisioners.running import until_signalled

__all__ = ["run"]


def run(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run it until the process is told to end."""
    # To look for garbage among all that was imported holds every request up for tens of
    # milliseconds: longer than a decision may take.
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_signalled(work))
