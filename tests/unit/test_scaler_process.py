from __future__ import annotations

import asyncio

import pytest

from streams.adapters.kafka.broker_watch import BrokerWatch
from streams.provisioners.keda import scaler_process
from streams.records.catalog import Catalog
from streams.settings import Settings


class Hanging:
    """A view of a topic that Kafka has stopped to answer about."""

    now = Catalog()

    def __init__(self) -> None:
        self.followed = asyncio.Event()

    async def follow(self) -> None:
        self.followed.set()
        await asyncio.Event().wait()

    def read(self) -> None:
        """It was there at the start."""

    def close(self) -> None:
        """Nothing to close."""


async def test_the_scaler_ends_when_it_is_to_though_kafka_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalog, stop = Hanging(), asyncio.Event()
    for name in "CatalogView", "InstanceView":
        monkeypatch.setattr(scaler_process, name, lambda _: catalog)
    monkeypatch.setattr(BrokerWatch, "start", lambda _: None)

    serving = asyncio.create_task(scaler_process.run(Settings(metrics_port=0), "127.0.0.1:0", stop))
    async with asyncio.timeout(30):
        await catalog.followed.wait()
        stop.set()
        await serving
