"""Whether each part is well: what `foremesh doctor` finds, asked again and again."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Sequence

from streams.dashboard.scrape import scraped
from streams.report.finding import PartFinding
from streams.runtime.clock import wall_ms
from streams.settings import Settings

__all__ = ["HealthWatch"]

_log = logging.getLogger(__name__)

PAUSE_S = 12.0
PATIENCE_S = 60.0
TRIES = 2  # a client of Kafka that crashes says nothing of the parts


class HealthWatch:
    """Asks every part, in a process of its own: one that hangs or crashes takes no page with it.

    Parameters
    ----------
    settings
        Where the parts are.
    metrics
        Prometheus endpoints of processes that are asked too.
    """

    def __init__(self, settings: Settings, metrics: Sequence[str] = ()) -> None:
        self._settings, self._metrics = settings, metrics
        self.parts: list[PartFinding] | None = None  # None: not asked yet
        self.asked_ms: int | None = None

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            found = await self._examined()
            self.parts = found + await scraped(self._metrics)
            self.asked_ms = wall_ms()
            await asyncio.sleep(PAUSE_S)

    async def _examined(self) -> list[PartFinding]:
        why = ""
        for _ in range(TRIES):
            try:
                return [PartFinding(**one) for one in json.loads(await self._told())]
            except (TimeoutError, OSError, ValueError, TypeError) as error:
                why = str(error) or "no answer in time"
                _log.warning("foremesh doctor: %s", why, extra={"action": "dashboard_health"})
        return [PartFinding(check="checks", ok=False, says=f"`foremesh doctor` failed: {why}")]

    async def _told(self) -> bytes:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streams", "doctor", "--output", "json"),
            env={**os.environ, **self._settings.to_env()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                told, _ = await process.communicate()
                return told
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
