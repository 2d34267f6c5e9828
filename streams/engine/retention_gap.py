"""Records that retention took before they were read."""

from __future__ import annotations

import logging

from streams.engine.batch import RecordBatch

__all__ = ["tell_gap"]

logger = logging.getLogger(__name__)


def tell_gap(batch: RecordBatch, at: int) -> int:
    """Say that a batch begins later than at this offset; how many records are lost by that."""
    lost = batch.begin_offset - at
    logger.error(
        "%s[%d] begins at offset %d: %d records from offset %d on are lost, since retention"
        " took them before they were read",
        batch.topic, batch.partition, batch.begin_offset, lost, at,
        extra={"action": "records_lost", "lost": lost},
    )  # fmt: skip
    return lost
