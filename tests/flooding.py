"""A flood of names that users invent, each as long as it may be, and an honest user in it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Message
from harness import Running, eventually
from live import Live

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.adapters.kafka.topic_reader import read_topic
from streams.engine.outbox import MOST_BYTES
from streams.engine.partitioning import partition_of
from streams.engine.producer import CheckedProducer
from streams.flow.topology import STAGES, TOPICS, changelog, key_of, topic_of
from streams.records import (
    Demand,
    Feedback,
    MeasuredWarmUp,
    Prediction,
    Record,
    Request,
    Result,
    ServiceProbability,
)

__all__ = ["CASES", "Flood", "endure"]

VECTORS, USERS = 1_000, 500
GIB = 1 << 30
LATE_S = 5.0  # a tick, on a machine that does more than this
CATALOGUE = """\
constituents:
  one: {cpu: 100, memory: 64, warm_up_ms: 300, price: 0.01}
composites: {single: [one]}
tiers:
  gold: {weight: 0.02, sla_ms: 500}
pools:
  default: {cpu: 4000, memory: 4096, bandwidth: 1000}
"""
CASES = {  # why a record of the flood may be refused
    "with a catalogue": r"is not in the catalogue$|^parameters are oversized|^not Avro",
    "without": r"is one too many|^parameters are oversized|^not Avro",
}


@dataclass(frozen=True)
class Flood:
    """How many names of each kind are invented."""

    pools: int
    tiers: int
    services: int


def name(kind: str, number: int) -> str:
    """One of as many bytes as a name may have."""
    return f"{kind}{number:06d}".ljust(256, "\U0001f600")


def now() -> int:
    return time.time_ns() // 1_000_000


def asked(user: str, service: str = "single", tier: str = "gold", pool: str = "default") -> Request:
    number = f"{user}/{time.time_ns()}"
    return Request(request_id=number, user=user, service=service, tier=tier, pool=pool, at_ms=now())


def vector(number: int, services: int, pool: str, invented: int) -> Prediction:
    entry = {"probability": 0.5 / services, "within": 0.5 / services, "soon": 0.1 / services}
    names = (name("s", (services * number + n) % invented) for n in range(services))
    return Prediction(
        request_id=str(number),
        user=f"vector{number}",
        services=tuple(ServiceProbability(service=each, **entry) for each in names),
        unseen=0.5,
        horizon_ms=60_000,
        expected_ms=(1_000, 2_000, 3_000),
        soon=0.2,
        made_ms=now(),
        expires_ms=now() + 200_000,
        model="invented",
        tier=name("t", number),
        pool=pool,
    )


def told(number: int, pool: str) -> Feedback:
    times = (MeasuredWarmUp(service=name("w", 3 * number + n), count=1, total_ms=9, squares_ms2=81.0)
             for n in range(3))  # fmt: skip
    return Feedback(
        request_id=f"f{number}", user=f"u{number % USERS}", tier=name("t", number), pool=pool,
        service=name("s", number), at_ms=now(), result=Result.MISS, warm_ups=tuple(times),
    )  # fmt: skip


def records_of(flood: Flood) -> Iterator[Record]:
    """Requests, vectors and feedback about pools, tiers and services that nobody has."""
    for number in range(flood.pools):
        yield asked(f"u{number % USERS}", pool=name("p", number))
    for number in range(flood.tiers):
        yield asked(f"u{number % USERS}", tier=name("t", number))
    for number in range(flood.services):
        yield asked(f"u{number % USERS}", service=name("s", number))
    for number in range(VECTORS):
        pool = name("p", number % flood.pools) if number % 2 else "default"
        yield vector(number, 5, pool, flood.services)
        yield told(number, pool)
    for number in range(5):
        yield vector(number, 1_000, "default", flood.services)


def send(flood: Flood, live: Live) -> None:
    producer = CheckedProducer(producer_config(live.settings))
    for record in records_of(flood):
        data = codec.encode(record)
        producer.send(live.settings.topic(topic_of(record)), key_of(record), data)
    for number in range(5):
        noise = b"x" * 2_900_000
        producer.send(live.settings.topic("requests"), f"u{number}".encode(), noise)
    producer.flush(120)


def ask_each_second(live: Live, ended: threading.Event) -> None:
    """One request of an honest user a second, and three after the flood."""
    producer, left = CheckedProducer(producer_config(live.settings)), 3
    while left:
        request = asked(f"honest{now()}")
        producer.send(live.settings.topic("requests"), key_of(request), codec.encode(request))
        producer.flush(20)
        left -= ended.wait(1.0)
        if ended.is_set():
            time.sleep(1.0)


def delays_s(live: Live) -> list[float]:
    """How long each honest request took to be in the demand of its pool."""
    settings, told = live.settings, list[tuple[int, Demand]]()
    for message in read_topic(settings, settings.topic("demand")):
        record = codec.decode(message.value() or b"")
        if isinstance(record, Demand) and record.pool == "default":
            told.append((message.timestamp()[1], record))
    sent = map(request_of, read_topic(settings, settings.topic("requests")))
    requests = sorted((r for r in sent if r), key=lambda r: r.at_ms)
    found = []
    for request in requests:
        number = partition_of(request.user.encode(), settings.partitions)
        heard_ms = [
            at_ms for at_ms, demand in told
            if demand.partition == number and demand.at_ms >= request.at_ms
        ]  # fmt: skip
        found.append((min(heard_ms, default=2**60) - request.at_ms) / 1_000)
    return found


def request_of(message: Message) -> Request | None:
    """The honest request of a message, if it is one."""
    data = message.value() or b""
    if b"honest" not in data[:200]:
        return None
    record = codec.decode(data)
    return record if isinstance(record, Request) else None


def largest(live: Live) -> int:
    """Bytes of the largest record that is not a request: of topics and of state."""
    kept = [changelog(row.name) for row in STAGES.values() if row.keeps]
    topics = [name for name in (*TOPICS, *kept) if name != "requests"]
    sizes = [
        len(message.value() or b"")
        for name in topics
        for message in read_topic(live.settings, live.settings.topic(name))
    ]
    return max(sizes)


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1_024


def endure(flood: Flood, live: Live, folder: Path, case: str, patience_s: float) -> list[float]:
    """One pool goes on as if nobody invented names; how late each honest request was heard of."""
    if case == "with a catalogue":
        (folder / "catalog.yaml").write_text(CATALOGUE)
        live.catalogue(folder / "catalog.yaml")
    worker, ended = live.worker(), threading.Event()
    honest = threading.Thread(target=ask_each_second, args=(live, ended))
    honest.start()
    try:
        eventually(lambda: live.count("demand"), 120)
        send(flood, live)
        live.be_quiet(patience_s)
    finally:
        ended.set()
        honest.join()
    live.be_quiet(60)
    late = delays_s(live)
    assert len(late) >= 4
    assert max(late[-3:]) < LATE_S
    _is_sound(live, worker, case)
    return late


def _is_sound(live: Live, worker: Running, case: str) -> None:
    peak, most = peak_bytes(worker.pid), largest(live)
    print(f"{case}: at most {peak >> 20} MiB, the largest record {most} bytes")  # noqa: T201 - shown with -s
    assert peak < GIB
    assert most <= MOST_BYTES
    refused = {dead.letter.reason for dead in live.dead()}
    assert {reason for reason in refused if not re.search(CASES[case], reason)} == set()
    assert worker.process.poll() is None
    assert "Traceback" not in worker.output
