"""Waits for PostgreSQL: for as long as it takes, and with a reason that is told."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from threading import Event
from typing import TypeVar

from streams.adapters.metrics.table import POSTGRES_UP
from streams.errors import DatabaseUnreachable

__all__ = ["DatabaseWait"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
REPEAT_S = 60.0  # until a reason that lasts is told again


class DatabaseWait:
    """Asks PostgreSQL until it answers.

    Parameters
    ----------
    stopping
        Ends every wait when it is set.
    """

    def __init__(self, stopping: Event) -> None:
        self.answered = False  # the last question
        self._stopping = stopping
        self._since_s: float | None = None  # since when it does not answer (monotonic)
        self._told: tuple[float, type[Exception]] | None = None  # when what was said last

    def until_answered(
        self,
        ask: Callable[[], T],
        failed: Callable[[], None] = lambda: None,
        hopeless: tuple[type[DatabaseUnreachable], ...] = (),
    ) -> T:
        """Return the answer of `ask`, which is called until it has one.

        Parameters
        ----------
        failed
            Called each time that there was none.
        hopeless
            Errors that no wait mends.

        Raises
        ------
        DatabaseUnreachable
            It is to stop, and there was no answer yet.
        """
        for pause_s in _pauses():
            try:
                answer = ask()
            except hopeless:
                raise
            except DatabaseUnreachable as error:
                failed()
                self._is_away(error)
                if self._stopping.wait(pause_s):
                    raise
            else:
                self._is_there()
                return answer
        raise AssertionError  # the pauses are endless

    def _is_away(self, error: DatabaseUnreachable) -> None:
        self.answered = False
        POSTGRES_UP.set(0)
        now_s = time.monotonic()
        self._since_s = now_s if self._since_s is None else self._since_s
        if self._told and self._told[1] is type(error) and now_s - self._told[0] < REPEAT_S:
            return
        self._told = now_s, type(error)
        _log.warning("Waiting for PostgreSQL: %s", error, extra={"action": "sink_waits"})

    def _is_there(self) -> None:
        self.answered = True
        POSTGRES_UP.set(1)
        if self._since_s is not None:
            lasted_s = time.monotonic() - self._since_s
            _log.info("PostgreSQL answers, after %.0f s", lasted_s, extra={"action": "sink_on"})
        self._since_s = self._told = None


def _pauses() -> Iterator[float]:
    for attempt in itertools.count():
        yield min(FIRST_PAUSE_S * 2 ** min(attempt, 10), LONGEST_PAUSE_S)
