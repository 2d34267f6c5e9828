"""A stage whose state shows every record lost, repeated or out of order; and a worker that runs it.

It stands in for the interceptor, since what it writes, outcomes, is not compacted.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import signal
import struct
from collections.abc import Iterable, MutableMapping
from pathlib import Path

from streams.engine.faust.app import run
from streams.pipeline.worker import create_app
from streams.records import Outcome, Record, Request, Result, Route
from streams.settings import Settings
from streams.stages.base import EventDriven, RecordUnusable, StepContext

State = tuple[int, bytes]  # records counted; a digest of their ids in order

ALL = "\x00all"
NONE: State = (0, bytes(16))


class Counting(EventDriven):
    """Counts the records of each user and of all, and chains their ids."""

    name = "interceptor"

    def step(
        self, event: Record, state: MutableMapping[str, State], context: StepContext
    ) -> Iterable[Record]:
        del context
        assert isinstance(event, Request)
        if event.service == "unusable":
            raise RecordUnusable("the service is unusable")
        for key in (f"u/{event.user}", ALL):
            state[key] = add(state.get(key, NONE), event.request_id)
        if event.service == "poison":
            raise RuntimeError("poison")
        yield outcome(event, state[f"u/{event.user}"], state[ALL])

    def encode(self, value: State) -> bytes:
        count, digest = value
        return struct.pack(">BQ", 1, count) + digest

    def decode(self, data: bytes) -> State:
        version, count = struct.unpack(">BQ", data[:9])
        if version != 1:
            raise ValueError(f"version {version}")
        return count, data[9:]


def add(state: State, request_id: str) -> State:
    count, digest = state
    return count + 1, hashlib.blake2b(digest + request_id.encode(), digest_size=16).digest()


def outcome(request: Request, user: State, everyone: State) -> Outcome:
    return Outcome(
        request_id=request.request_id,
        user=request.user,
        tier=request.tier,
        pool=request.pool,
        service=f"{user[0]} {user[1].hex()} {everyone[0]} {everyone[1].hex()}",
        at_ms=request.at_ms,
        result=Result.MISS,
        route=Route.OBSERVED,
        status=0,
        latency_ms=0.0,
        cold_ms=0,
        saved_ms=0,
        parts=(),
    )


def main(settings: Settings, log: str) -> None:
    """A worker process: one that ends with the process that started it."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    with Path(log).open("wb") as file:
        for output in (1, 2):
            os.dup2(file.fileno(), output)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    run(create_app(settings, {"interceptor": Counting()}))
