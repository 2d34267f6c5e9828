"""What the transport tells of a batch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.engine.faust.transport import BatchConsumer

PLACE = TP("requests", 0)


@pytest.mark.parametrize(("begin", "told"), [(3, 3), (5, 5), (9, 5)])
def test_a_batch_is_not_said_to_lack_what_is_in_it(begin: int, told: int) -> None:
    consumer: Any = SimpleNamespace(
        _fetcher=SimpleNamespace(begin=lambda _: begin), highwater=lambda _: 20
    )
    chunk: Any = [SimpleNamespace(offset=offset, timestamp=0) for offset in range(5, 12)]

    message = BatchConsumer._batch_message(consumer, PLACE, 5, chunk, 1)

    assert message.value.begin_offset == told
