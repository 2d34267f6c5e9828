"""quix-streams, with its RocksDB state and its changelog; run in an environment of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, MutableMapping
from typing import Any

from quixstreams import Application, State  # type: ignore[import-not-found]
from work import Clock, Task

from streams.settings import Settings


class PerKey(MutableMapping[str, Any]):
    """State of one message key; rows that users share stay in memory, for it has no place."""

    def __init__(self, stage: Any) -> None:
        self._stage = stage
        self._shared: dict[str, Any] = {}
        self.state: State

    def __getitem__(self, key: str) -> Any:
        if key.startswith("\x00"):
            return self._shared[key]
        data = self.state.get_bytes(key)
        if data is None:
            raise KeyError(key)
        return self._stage.decode(data)

    def __setitem__(self, key: str, value: Any) -> None:
        if key.startswith("\x00"):
            self._shared[key] = value
        else:
            self.state.set_bytes(key, self._stage.encode(value))

    def __delitem__(self, key: str) -> None:
        self.state.delete(key)

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError


def main(case: str, count: int) -> None:
    """Run until all records are done."""
    settings, clock = Settings.from_env(), Clock(count)
    task = Task(case, settings)
    app = Application(
        broker_address=settings.kafka,
        consumer_group=f"{settings.prefix}quix",
        auto_offset_reset="earliest",
        auto_create_topics=True,
        state_dir=f"{settings.build}/quix",
        commit_interval=0.5,
        loglevel="ERROR",
        producer_extra_config={"linger.ms": 5},
    )
    raw = {"key_serializer": "bytes", "value_serializer": "bytes"}
    source = app.topic(
        settings.topic("requests"), key_deserializer="bytes", value_deserializer="bytes"
    )
    outputs = {
        settings.topic(name): app.topic(settings.topic(name), **raw)
        for name in ("outcomes", "predictions")
    }
    state = PerKey(task.stage)
    plain: dict[str, Any] = {}

    def work(value: bytes, mapping: MutableMapping[str, Any]) -> list[tuple[str, bytes, bytes]]:
        clock.start()
        return list(task(value, mapping))

    def stateful(value: bytes, given: State) -> list[tuple[str, bytes, bytes]]:
        state.state = given
        return work(value, state)

    stream = app.dataframe(source)
    stream = (
        stream.apply(stateful, stateful=True)
        if case in {"state", "profiler"}
        else stream.apply(lambda value: work(value, plain))
    )
    if case in {"send", "profiler"}:
        name = "outcomes" if case == "send" else "predictions"
        sink = outputs[settings.topic(name)]
        stream = stream.apply(lambda made: made[0][2]).to_topic(sink)

    def done(_: Any) -> None:
        if clock.tick():
            app._producer.flush()
            clock.stop()

    stream.update(done)
    app.run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
