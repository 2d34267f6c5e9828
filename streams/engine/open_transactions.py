"""Says aloud which records wait for a transaction that somebody left open: nobody may read them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from faust.types import TP

from streams.engine.batch import BareEnd

__all__ = ["OpenTransactions"]

logger = logging.getLogger(__name__)

SHORT_S = 10.0  # that of a producer that works


class OpenTransactions:
    """Follows the partitions on which records are held back."""

    def __init__(self) -> None:
        self._since_s: dict[TP, tuple[int, float]] = {}  # where it holds back what follows
        self._told: set[TP] = set()

    def note(self, held: Mapping[TP, tuple[BareEnd, int]], now_s: float) -> None:
        """Tell, once, of records that have been held back for long.

        Parameters
        ----------
        held
            Where the partition ends for us, and how many records are behind that.
        now_s
            Monotonic.
        """
        before, self._since_s = self._since_s, {}
        for tp, (end, count) in held.items():
            at, since_s = before.get(tp, (end.until, now_s))
            self._since_s[tp] = (at, since_s) if at == end.until else (end.until, now_s)
            if now_s - self._since_s[tp][1] < SHORT_S:
                self._told.discard(tp)
            elif tp not in self._told:
                self._told.add(tp)
                _tell(tp, end, count)
        self._told &= held.keys()


def _tell(tp: TP, end: BareEnd, count: int) -> None:
    logger.warning(
        "%s[%d]: a transaction that is open holds back all from offset %d on, %d so far; it is read"
        " once that is committed, aborted or timed out. `kafka-transactions.sh find-hanging` finds"
        " one that never will be",
        tp.topic, tp.partition, end.until, count,
        extra={"action": "transaction_open"},
    )  # fmt: skip
