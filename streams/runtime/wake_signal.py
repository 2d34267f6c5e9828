"""A signal that several tasks wait for and that can be given again and again."""

from __future__ import annotations

import asyncio
import contextlib

__all__ = ["WakeSignal"]


class WakeSignal:
    """Wakes every task that is waiting at that moment; those that wait later are not woken."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Wake all that wait."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, timeout_s: float) -> None:
        """Wait for the next signal, at most `timeout_s`; returns in both cases."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
