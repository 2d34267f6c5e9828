"""State that cannot be read: which partitions have such, and having them begin without any."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from streams.engine.partition import ChangelogConfig
from streams.engine.partition_store import PartitionStore
from streams.engine.producer import TransactionalWriter
from streams.engine.recovery import Rows, read_partition
from streams.errors import StateUnreadable

__all__ = ["forget", "unreadable_partitions"]


def unreadable_partitions(
    changelog: ChangelogConfig, partitions: Iterable[int]
) -> dict[int, set[bytes]]:
    """The keys in the changelog of each partition of which a row cannot be read."""
    found = {}
    for number in partitions:
        config, topic = changelog.client_config, changelog.topic
        rows = [
            row for chunk in read_partition(config, topic, number, lambda: False) for row in chunk
        ]
        if not _readable(changelog.empty(), rows):
            found[number] = {key for key, _ in rows}
    return found


def _readable(store: PartitionStore[Any], rows: Rows) -> bool:
    try:
        store.load(rows)
        for key in store:
            store.get(key)
    except StateUnreadable:
        return False
    return True


def forget(changelog: ChangelogConfig, number: int, keys: Iterable[bytes]) -> None:
    """Delete all state of a partition; fences the worker that has it."""
    writer = TransactionalWriter(
        changelog.producer_config, f"{changelog.group}-{number}", changelog.topic, number
    )
    writer.write([(key, None) for key in keys])
