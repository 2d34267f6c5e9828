"""Find the request rate at which starting instances does not saturate this machine."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from streams.errors import StackFailed
from streams.provisioners.local.child_process import InstanceProcess, ProcessNotReady
from streams.records.catalog import Catalog, Constituent

__all__ = ["affordable_rate", "start_up_s"]

_BUSY = 0.6  # share of the CPU that cold starts may take when every request is a miss
_START_S = 60.0
_LEAST = 0.25  # requests per second, even on a slow machine


def affordable_rate(catalog: Catalog, starts_s: float, at_once: int) -> float:
    """Requests per second at which cold starts take 60 % of the CPU if all requests miss.

    Parameters
    ----------
    catalog
        Its composites are requested equally often.
    starts_s
        Mean start-up time while `at_once` instances start concurrently.
    """
    parts = [len(composite.constituents) for composite in catalog.composites.values()]
    return max(_LEAST, _BUSY * at_once / starts_s / (sum(parts) / len(parts)))


async def start_up_s(constituents: Sequence[Constituent], models: Path, at_once: int) -> float:
    """Mean time from spawning an instance to its first answer, without shared bases.

    Raises
    ------
    StackFailed
        An instance does not start.
    """
    os.environ["MODEL_FOLDER"] = str(models)  # written in the first round, then only read
    room = asyncio.Semaphore(at_once)

    async def start(session: aiohttp.ClientSession, constituent: Constituent) -> float:
        async with room:
            began = time.perf_counter()
            child = await InstanceProcess.spawn(constituent.command)
            try:
                await child.ready(session, constituent.health, _START_S)
                return time.perf_counter() - began
            finally:
                await child.stop(2.0)
                await child.wait()

    try:
        async with aiohttp.ClientSession() as session:
            for each in constituents:  # writes the models and compiles the modules
                await start(session, each)
            took = await asyncio.gather(*(start(session, each) for each in constituents))
    except ProcessNotReady as error:
        raise StackFailed(f"an instance of the demonstration does not start: {error}") from error
    return sum(took) / len(took)
