"""The work of each case, the same for every contender, and how a contender reports."""

from __future__ import annotations

import json
import os
import struct
import sys
import time
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from streams.adapters.avro import codec
from streams.flow.topology import key_of, topic_of
from streams.records import Outcome, Record, Request, Result, Route
from streams.settings import Settings
from streams.stages.base import EventDriven, Stage, StepContext
from streams.stages.profiler import ProfilerStage

CASES = ("decode", "state", "send", "profiler")


class Decode(EventDriven):
    """Does nothing with what was decoded."""

    name = "interceptor"

    def step(
        self, event: Record, state: MutableMapping[str, int], context: StepContext
    ) -> Iterable[Record]:
        del event, state, context
        return ()

    def encode(self, value: int) -> bytes:
        return struct.pack(">q", value)

    def decode(self, data: bytes) -> int:
        value: int = struct.unpack(">q", data)[0]
        return value


class Count(Decode):
    """One write of state for each record."""

    def step(
        self, event: Record, state: MutableMapping[str, int], context: StepContext
    ) -> Iterable[Record]:
        del context
        assert isinstance(event, Request)
        key = f"u/{event.user}"
        state[key] = state.get(key, 0) + 1
        return ()


class Forward(Decode):
    """One record sent for each record."""

    def step(
        self, event: Record, state: MutableMapping[str, int], context: StepContext
    ) -> Iterable[Record]:
        del state, context
        assert isinstance(event, Request)
        return (outcome(event),)


STAGES: Mapping[str, type] = {
    "decode": Decode, "state": Count, "send": Forward, "profiler": ProfilerStage,
}  # fmt: skip


def outcome(event: Request) -> Outcome:
    """A small record."""
    return Outcome(
        request_id=event.request_id, user=event.user, tier=event.tier, pool=event.pool,
        service=event.service, at_ms=event.at_ms, result=Result.MISS, route=Route.OBSERVED,
        status=0, latency_ms=0.0, cold_ms=0, saved_ms=0, parts=(),
    )  # fmt: skip


class Task:
    """A case as a function of bytes, for those who have no engine."""

    def __init__(self, case: str, settings: Settings) -> None:
        self.stage: Stage[Any] = STAGES[case]()
        self._settings = settings

    def __call__(
        self, value: bytes, state: MutableMapping[str, Any]
    ) -> Iterable[tuple[str, bytes, bytes]]:
        """Decode, step, encode: what to send, as topic, key and value."""
        for made in self.stage.step(codec.decode(value), state, StepContext()):
            yield self._settings.topic(topic_of(made)), key_of(made) or b"", codec.encode(made)


class Clock:
    """Takes the time from the first record to the last, says it and ends the process."""

    def __init__(self, count: int) -> None:
        self.count, self._seen, self._begun = count, 0, 0.0

    def start(self) -> None:
        self._begun = self._begun or time.perf_counter()

    def tick(self) -> bool:
        """One record is done; whether it was the last."""
        self._seen += 1
        return self._seen == self.count

    def stop(self) -> None:
        seconds = time.perf_counter() - self._begun
        sys.__stdout__.write(json.dumps({"per_s": self.count / seconds}) + "\n")  # type: ignore[union-attr]
        sys.__stdout__.flush()  # type: ignore[union-attr]
        os._exit(0)
