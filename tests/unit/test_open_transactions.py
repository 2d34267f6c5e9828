"""Only a transaction that stays open is told: those that follow each other hold back other records."""

from __future__ import annotations

import pytest
from faust.types import TP

from streams.engine.batch import BareEnd
from streams.engine.open_transactions import SHORT_S, OpenTransactions

PARTITION = TP("requests", 0)


def told(caplog: pytest.LogCaptureFixture, *places: int) -> int:
    """How often it is told, where a second apart a transaction holds back all from these offsets on."""
    watch = OpenTransactions()
    for second, offset in enumerate(places):
        watch.note({PARTITION: (BareEnd(offset, offset), 1)}, float(second))
    return len(caplog.records)


def test_a_transaction_that_stays_open_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, *[7] * (3 * int(SHORT_S))) == 1


def test_transactions_that_follow_each_other_are_not(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, *range(3 * int(SHORT_S))) == 0
