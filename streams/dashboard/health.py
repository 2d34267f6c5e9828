"""Whether each part is well: what `foremesh doctor` finds, asked again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from streams.runtime.clock import wall_ms

__all__ = ["Finding", "HealthWatch", "PartHealth"]

_log = logging.getLogger(__name__)

PAUSE_S = 10.0


class Finding(Protocol):
    """What one check found."""

    @property
    def check(self) -> str:
        """What was looked at."""

    @property
    def ok(self) -> bool:
        """Whether it is well."""

    @property
    def says(self) -> str:
        """A sentence, with the fix when it is not."""

    @property
    def there(self) -> bool:
        """Whether it runs at all, as far as can be seen."""


@dataclass(frozen=True, slots=True)
class PartHealth:
    """What one check found, as the page shows it."""

    check: str
    ok: bool
    says: str
    there: bool = True

    @property
    def state(self) -> str:
        """Its state in a word."""
        if not self.ok:
            return "wrong"
        return "well" if self.there else "not running"


class HealthWatch:
    """Asks every part beside the page, since a part that hangs takes seconds to say so.

    Parameters
    ----------
    examine
        Makes every check; called in a thread.
    """

    def __init__(self, examine: Callable[[], Iterable[Finding]]) -> None:
        self._examine = examine
        self.parts: list[PartHealth] | None = None  # None: not asked yet
        self.asked_ms: int | None = None

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            try:
                found = await asyncio.to_thread(lambda: list(self._examine()))
                self.parts = [PartHealth(one.check, one.ok, one.says, one.there) for one in found]
            except Exception as error:  # noqa: BLE001  # whatever a check raises, the page goes on
                _log.exception("A check failed", extra={"action": "dashboard_health"})
                self.parts = [PartHealth("checks", ok=False, says=f"cannot be made: {error}")]
            self.asked_ms = wall_ms()
            await asyncio.sleep(PAUSE_S)
