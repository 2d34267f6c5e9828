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
        self._since_s: dict[TP, float] = {}
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
        self._since_s = {tp: self._since_s.get(tp, now_s) for tp in held}
        self._told &= held.keys()
        for tp in held.keys() - self._told:
            if now_s - self._since_s[tp] >= SHORT_S:
                self._told.add(tp)
                _tell(tp, *held[tp])


def _tell(tp: TP, end: BareEnd, count: int) -> None:
    logger.warning(
        "%s[%d]: %d records from offset %d on wait for a transaction that is open; they are read"
        " once it is committed, aborted or timed out. `kafka-transactions.sh find-hanging` finds"
        " one that never will be",
        tp.topic, tp.partition, count, end.until,
        extra={"action": "transaction_open"},
    )  # fmt: skip
