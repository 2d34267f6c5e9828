"""What is not a race: latency, state, recovery, and the cost of many users."""

from __future__ import annotations

import csv
import gc
import gzip
import os
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from confluent_kafka import Consumer
from driver import CHECKOUT, HERE, corner, requests

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import client_config, consumer_config, producer_config
from streams.engine.partition_store import PartitionStore
from streams.engine.producer import CheckedProducer, TransactionalWriter
from streams.engine.recovery import read_partition
from streams.flow.topology import changelog
from streams.records import Prediction, Request
from streams.settings import Settings
from streams.stages.base import StepContext
from streams.stages.profiler import ProfilerStage

TRACE = CHECKOUT.parent / "shared" / "data" / "so_badges" / "events.csv.gz"


def latency(base: Settings, per_s: float, seconds: float = 12.0) -> dict[str, float]:
    """Milliseconds from sending a request to reading its prediction, at a steady rate."""
    with corner(base) as settings:
        paths = f"{CHECKOUT}{os.pathsep}{HERE}"
        env = {**os.environ, **settings.to_env(), "PYTHONPATH": paths}
        argv = [sys.executable, str(HERE / "contender_foremesh.py"), "profiler", str(10**9)]
        worker = subprocess.Popen(argv, env=env)
        try:
            taken = _probe(settings, per_s, seconds)
        finally:
            worker.kill()
            worker.wait(10)
    cuts = quantiles(taken, n=100)
    return {"per_s": round(per_s), "p50_ms": cuts[49], "p99_ms": cuts[98], "count": len(taken)}


def _probe(settings: Settings, per_s: float, seconds: float) -> list[float]:
    sent: dict[str, float] = {}
    consumer = Consumer({**consumer_config(settings, "probe"), "fetch.wait.max.ms": 5})
    consumer.subscribe([settings.topic("predictions")])
    taken: list[float] = []
    finished = threading.Event()
    thread = threading.Thread(target=_send, args=(settings, per_s, seconds, sent, finished))
    thread.start()
    deadline = time.monotonic() + seconds + 90
    while time.monotonic() < deadline:
        message = consumer.poll(0.1)
        if message is None or message.error():
            if finished.is_set() and len(taken) >= len(sent):
                break
            continue
        now = time.perf_counter()
        made = codec.decode(message.value() or b"")
        assert isinstance(made, Prediction)
        taken.append((now - sent[made.request_id]) * 1e3)
    thread.join()
    consumer.close()
    assert len(taken) >= len(sent)
    return taken[len(taken) // 4 :]  # without the start of the worker


def _send(
    settings: Settings, per_s: float, seconds: float, sent: dict[str, float], done: threading.Event
) -> None:
    producer = CheckedProducer(producer_config(settings))
    stream, begun, number = requests(1_000), time.monotonic(), 0
    time.sleep(8)  # the worker starts
    begun = time.monotonic()
    while (now := time.monotonic() - begun) < seconds:
        while number < now * per_s:
            request = next(stream)
            sent[request.request_id] = time.perf_counter()
            topic = settings.topic("requests")
            producer.send(topic, request.user.encode(), codec.encode(request))
            number += 1
        time.sleep(0.001)
    producer.flush(60)
    done.set()


def state_bytes(most: int = 120_000) -> dict[str, float] | None:
    """Bytes of a user's state after the badges trace; None where the trace is not."""
    if not TRACE.exists():
        return None
    stage = ProfilerStage()
    state: dict[str, Any] = {}
    for request in trace(TRACE)[:most]:
        list(stage.step(request, state, StepContext()))
    sizes = [len(stage.encode(value)) for key, value in state.items() if key.startswith("u/")]
    return {"users": len(sizes), "median_bytes": median(sizes), "largest_bytes": max(sizes)}


def trace(path: Path) -> list[Request]:
    """The requests of a recorded trace (user, time in seconds, item), in order of time."""
    with gzip.open(path, "rt") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["ts"]))
    return [
        Request(
            request_id=f"r{number}",
            user=row["user"],
            service=row["item"],
            at_ms=int(float(row["ts"]) * 1000),
        )
        for number, row in enumerate(rows)
    ]


def recovery(base: Settings, rows: int = 400_000) -> float:
    """Rows of state a second, from the changelog into the store."""
    with corner(base) as settings:
        topic = settings.topic(changelog("profiler"))
        config = producer_config(settings)
        writer = TransactionalWriter(config, f"{settings.prefix}w", topic, 0)
        for start in range(0, rows, 50_000):
            chunk = range(start, min(rows, start + 50_000))
            writer.write([(f"u/user{n}".encode(), bytes(500)) for n in chunk])
        store: PartitionStore[bytes] = PartitionStore(bytes, bytes, 10**9)
        begun = time.perf_counter()
        for found in read_partition(client_config(settings), topic, 0, lambda: False):
            store.load(found)
        seconds = time.perf_counter() - begun
        assert len(store) == rows
        return rows / seconds


def cost_by_users(counts: tuple[int, ...], events: int = 4_000) -> dict[str, float]:
    """Microseconds an event, with so many users remembered; each step saved as the engine does."""
    stage = ProfilerStage()
    typical = _typical(stage)
    shared = [(k, v) for k, v in typical if k.startswith(b"\x00")]
    rows = [v for k, v in typical if not k.startswith(b"\x00")]
    costs = {}
    for users in counts:
        store: PartitionStore[Any] = PartitionStore(stage.encode, stage.decode, 10**9)
        store.load(shared)
        # Bytes of its own for each user: a million users take the room of a million.
        store.load(
            (f"u/user{n}".encode(), bytes(bytearray(rows[n % len(rows)]))) for n in range(users)
        )
        gc.freeze()  # as the worker does
        stream = list(islice(requests(users, seed=3), events))
        begun = time.perf_counter()
        for number, request in enumerate(stream):
            stage.step(request, store, StepContext())
            if number % 1_000 == 999:
                store.save()
        costs[str(users)] = (time.perf_counter() - begun) / events * 1e6
    return costs


def _typical(stage: ProfilerStage) -> list[tuple[bytes, bytes]]:
    state: dict[str, Any] = {}
    for request in islice(requests(200), 4_000):
        stage.step(request, state, StepContext())
    return [(key.encode(), stage.encode(value)) for key, value in state.items()]
