"""Which partition a key belongs to: that of Kafka's own clients, whoever produces."""

from __future__ import annotations

from functools import lru_cache

from aiokafka.partitioner import murmur2  # type: ignore[import-untyped]  # ships no types

__all__ = ["partition_of"]


@lru_cache(maxsize=65_536)
def partition_of(key: bytes | None, partitions: int) -> int:
    """The partition that Kafka's default partitioner sends a key to."""
    if key is None or partitions == 1:
        return 0
    return int(murmur2(key) & 0x7FFFFFFF) % partitions
