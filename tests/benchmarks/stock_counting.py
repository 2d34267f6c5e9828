"""The stage that counts, on stock Faust: a table, `send`, and what Faust says of tables."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path
from typing import Any

import faust
from contender_stock import State
from counting import Counting

from streams.adapters.avro import codec
from streams.flow.topology import key_of
from streams.settings import Settings
from streams.stages.base import StepContext


def application(settings: Settings, datadir: str = ".") -> faust.App:
    """Counts requests by user in a table, and sends an outcome for each."""
    app = faust.App(
        f"{settings.prefix}stock",
        broker=f"kafka://{settings.kafka}",
        store="memory://",
        topic_partitions=settings.partitions,
        topic_replication_factor=1,
        broker_session_timeout=settings.session_ms / 1000,
        broker_heartbeat_interval=settings.session_ms / 4000,
        broker_commit_interval=settings.commit_ms / 1000,
        web_enabled=False,
        datadir=datadir,
    )
    stage = Counting()
    requests = app.topic(settings.topic("requests"), value_type=bytes, value_serializer="raw")
    outcomes = app.topic(settings.topic("outcomes"), value_type=bytes, value_serializer="raw")
    state = State(app.Table("state", key_type=str, value_type=bytes), stage)

    @app.agent(requests)
    async def count(stream: Any) -> None:
        async for value in stream:
            for made in stage.step(codec.decode(value), state, StepContext()):
                await outcomes.send(key=key_of(made), value=codec.encode(made))

    return app


def main(settings: Settings, log: str) -> None:
    """A worker process: one that ends with the process that started it."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    with Path(log).open("wb") as file:
        for output in (1, 2):
            os.dup2(file.fileno(), output)
    app = application(settings, str(Path(log).with_suffix("")))
    app.finalize()
    worker = faust.Worker(app, loglevel="INFO", quiet=True)
    worker.execute_from_commandline()
