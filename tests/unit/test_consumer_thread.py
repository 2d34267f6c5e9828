"""The thread that keeps the consumer group: what it commits."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from streams.engine.faust.consumer_thread import ConsumerThread


def test_offsets_of_partitions_that_have_all_left_are_not_committed() -> None:
    thread: Any = SimpleNamespace(assignment=set)

    assert not asyncio.run(ConsumerThread._commit(thread, {TP("requests", 0): 7}))
