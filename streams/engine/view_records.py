"""The records of a topic that is seen whole: one that no reader can use is left out of its view."""

from __future__ import annotations

from collections.abc import Callable

from streams.flow.topology import TOPICS
from streams.records import Instance, Record
from streams.stages.admission import admit_instance
from streams.stages.base import RecordUnusable

__all__ = ["ViewRecordUnusable", "view_decoder"]


class ViewRecordUnusable(ValueError):
    """A record that has no place in a view."""


def view_decoder(topic: str, decode: Callable[[bytes], Record]) -> Callable[[bytes], Record]:
    """The decoder of a view of `topic` (without prefix).

    It raises ValueError for what does not belong on the topic, and for an instance with numbers
    that no decision could be made with: in a view they would fail every step, not one.
    """
    kinds = TOPICS[topic].records

    def read(data: bytes) -> Record:
        record = decode(data)
        if not isinstance(record, kinds):
            raise ViewRecordUnusable(f"a {type(record).__name__} has no place on {topic}")
        if isinstance(record, Instance):
            try:
                admit_instance(record)
            except RecordUnusable as error:
                raise ViewRecordUnusable(str(error)) from error
        return record

    return read
