from __future__ import annotations

import asyncio
import gc

from streams.runtime.event_loop import run


def test_what_was_imported_is_not_looked_through_for_garbage() -> None:
    looked_through: list[int] = []

    async def work(stop: asyncio.Event) -> None:
        del stop
        looked_through.append(len(gc.get_objects()))

    before = len(gc.get_objects())
    try:
        run(work)
    finally:
        gc.unfreeze()

    assert looked_through[0] < before / 10
