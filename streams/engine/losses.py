"""What is lost for good, and is said aloud: records that retention took, and state."""

from __future__ import annotations

import logging

from streams.engine.batch import RecordBatch

__all__ = ["tell_gap", "tell_loss"]

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


def tell_loss(batch: RecordBatch, stage: str, changelog: str) -> None:
    """Say that a changelog is not what it was, and how to learn again what can be."""
    logger.error(
        "%s[%d] goes on at offset %d without state: %s was emptied or made anew, and what was"
        " learnt is lost. To learn it again from what is still there: end the workers, delete the"
        " topic %s, run `foremesh topics create` and `foremesh worker %s --rebuild`",
        batch.topic, batch.partition, batch.records[0].offset, changelog, changelog, stage,
        extra={"action": "state_lost"},
    )  # fmt: skip
