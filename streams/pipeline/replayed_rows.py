"""What a replay makes, as rows in PostgreSQL: those that `sink` writes of a worker's records."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from streams.adapters.postgres.sink import PostgresSink, ReceivedRecord, SinkEntry
from streams.flow.topology import TOPICS, topic_of
from streams.records import DeadLetter, Record

__all__ = ["ReplayedRows"]

BATCH = 5_000  # records per transaction


class ReplayedRows:
    """Writes the records that are stored; the same log once more changes no row.

    Parameters
    ----------
    url
        Of the database.
    source
        The name of the log. Before the topic of a dead letter it says that its place is not one on
        Kafka, where no name has a slash.
    """

    def __init__(self, url: str, source: str) -> None:
        self._sink, self._source = PostgresSink(url), source
        self._waiting: list[SinkEntry] = []
        self._count = 0  # stands for the offset: of two rows with one key the later one holds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self._flush()
        finally:
            self._sink.close()

    def put(self, record: Record) -> None:
        """Write a record, if it is of a kind that is stored.

        Raises
        ------
        DatabaseUnreachable
            PostgreSQL is away; what was written stays.
        """
        topic = topic_of(record)
        if not TOPICS[topic].stored:
            return
        if isinstance(record, DeadLetter) and record.topic in TOPICS:
            record = replace(record, topic=f"{self._source}/{record.topic}")
        self._count += 1
        place = ReceivedRecord(
            topic=f"{self._source}/{topic}", partition=0, offset=self._count, at_ms=0,
            key=None, value=None,
        )  # fmt: skip
        self._waiting.append(SinkEntry(record, place))
        if len(self._waiting) >= BATCH:
            self._flush()

    def _flush(self) -> None:
        letters = self._sink.write(self._waiting)
        self._waiting.clear()
        for letter in letters:
            self.put(letter)
        if letters:
            self._flush()
