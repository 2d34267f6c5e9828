"""Stock Faust, as its documentation has it: an agent, a table, `send`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, MutableMapping
from typing import Any

import faust
from work import CASES, Clock, Task

from streams.settings import Settings


class State(MutableMapping[str, Any]):
    """A table of bytes as a stage wants its state."""

    def __init__(self, table: Any, stage: Any) -> None:
        self._table, self._stage = table, stage

    def __getitem__(self, key: str) -> Any:
        return self._stage.decode(self._table[key])

    def __setitem__(self, key: str, value: Any) -> None:
        self._table[key] = self._stage.encode(value)

    def __delitem__(self, key: str) -> None:
        del self._table[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


def make(case: str, clock: Clock, settings: Settings) -> faust.App:
    """The application."""
    task = Task(case, settings)
    app = faust.App(
        f"{settings.prefix}stock",
        broker=f"kafka://{settings.kafka}",
        store="memory://",
        topic_partitions=settings.partitions,
        web_enabled=False,
        datadir=f"{settings.build}/faust",
        producer_linger=0.05,
        table_standby_replicas=0,
    )
    requests = app.topic(settings.topic("requests"), value_type=bytes, value_serializer="raw")
    sinks = {
        name: app.topic(settings.topic(name), value_type=bytes, value_serializer="raw")
        for name in ("outcomes", "predictions")
    }
    outputs = {settings.topic(name): sink for name, sink in sinks.items()}
    saves = case in {"state", "profiler"}
    table: Any = app.Table("state", key_type=str, value_type=bytes) if saves else {}
    state = State(table, task.stage)

    @app.agent(requests)
    async def work(stream: Any) -> None:
        async for value in stream:
            clock.start()
            for topic, key, made in task(value, state):
                await outputs[topic].send(key=key, value=made)
            if clock.tick():
                await app.producer.flush()
                clock.stop()

    return app


if __name__ == "__main__":
    assert sys.argv[1] in CASES
    application = make(sys.argv[1], Clock(int(sys.argv[2])), Settings.from_env())
    application.finalize()
    faust.Worker(application, loglevel="WARN", quiet=True).execute_from_commandline()
