"""Which partition a key belongs to: that of Kafka's own clients, whoever produces."""

from __future__ import annotations

from functools import lru_cache

from aiokafka.partitioner import murmur2  # type: ignore[import-untyped]  # ships no types

__all__ = ["partition_of"]


@lru_cache(maxsize=65_536)
def partition_of(key: bytes | None, partitions: int) -> int:
    """The partition that Kafka's default partitioner sends a key to."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions if key is not None else 0
