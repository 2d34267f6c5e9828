"""Minutes of hostile records, requests and bytes at everything that runs: the flow goes on.

`FOREMESH_HOSTILE_S` says for how long, in seconds.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from extremes import hostile
from harness import RunForemesh, Running, eventually
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from live import Live
from meshed import Mesh
from services import answers, catalog_of, constituent, send

from streams.adapters.avro import codec
from streams.adapters.avro.codec import RecordUndecodable
from streams.adapters.kafka.clients import producer_config
from streams.adapters.kafka.topic_reader import read_topic
from streams.engine.producer import CheckedProducer
from streams.flow.topology import TOPICS, key_of
from streams.records import Outcome
from streams.runtime.ports import free_ports
from streams.runtime.token_file import token_of

LONG_S = float(os.environ.get("FOREMESH_HOSTILE_S", "600"))
SEED = int(os.environ.get("FOREMESH_HOSTILE_SEED", random.randrange(1 << 32)))
KINDS = 1_500  # of records, made before
RECORDS_S, BYTES_S, HONEST_S = 0.05, 0.05, 0.5  # from one to the next
MOST_BYTES_S = 1_000_000  # of hostile records a second, on the mean
LONGEST_S = 1.0  # until who is asked answers
POOL = "honest"


def hostile_records() -> list[tuple[str, bytes | None, bytes]]:
    """Topic, key and value of each record of a run."""
    found: list[tuple[str, bytes | None, bytes]] = []
    one = st.sampled_from(sorted(TOPICS)).flatmap(lambda t: st.tuples(st.just(t), hostile(t)))

    @seed(SEED)
    @settings(
        max_examples=KINDS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(one)
    def make(made: tuple[str, object]) -> None:
        topic, record = made
        found.append((topic, key_of(record), codec.encode(record)))  # type: ignore[arg-type]

    make()
    return found


def spoilt_request(chance: random.Random, path: str, headers: dict[str, str]) -> bytes:
    """A request of which some bytes are others, are missing or come too often."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    body = b'{"uses": [{"instance_id": "none", "in_flight": 0}], "width": 512}'
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
    data = bytearray(head.encode() + body)
    for _ in range(chance.randrange(6)):
        at, size = chance.randrange(len(data)), chance.choice([0, 1, 3, 2_000])
        data[at : at + chance.randrange(4)] = chance.randbytes(size)
    return bytes(data)


@dataclass
class Honest:
    """Requests of honest users, and how they were answered."""

    doors: tuple[str, ...]
    sent: list[str] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def ask(self) -> None:
        """Ask at one of the doors, in turn."""
        number = len(self.sent)
        name = f"honest-{number}"
        self.sent.append(name)
        url = f"http://{self.doors[number % len(self.doors)]}/only-a"
        headers = {"x-foremesh-user": f"u{number % 5}", "x-request-id": name}
        request = urllib.request.Request(url, b"{}", headers)
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                answer.read()
        except OSError as error:
            self.faults.append(f"{name}: {error}")
        self.waits_s.append(time.monotonic() - began)


class Everything:
    """All processes of the flow, where each listens, and how long each takes to answer."""

    def __init__(self, live: Live, run: RunForemesh) -> None:
        self.live = live
        self.processes: dict[str, Running] = {}
        self.scraped: dict[str, str] = {}  # addresses of metrics
        self.slowest_s: dict[str, float] = {}
        ports = iter(free_ports(12))

        def metrics(name: str) -> str:
            port = next(ports)
            self.scraped[name] = f"127.0.0.1:{port}"
            return str(port)

        def start(name: str, *args: str, **env: str) -> None:
            env["FOREMESH_METRICS_PORT"] = metrics(name)
            self.processes[name] = run(*args, **env)

        mesh = self.mesh = Mesh(run, pool=POOL)
        self.processes["worker"] = live.worker(FOREMESH_METRICS_PORT=metrics("worker"))
        self.processes["sink"] = live.sink(FOREMESH_METRICS_PORT=metrics("sink"))
        start("provision", "provision", "--pool", POOL, "--listen", mesh.provisioner_at)
        gateway, dashboard, keda = (f"127.0.0.1:{next(ports)}" for _ in range(3))
        start("gateway", "gateway", "--pool", POOL, "--listen", gateway, **mesh.env)
        start("dashboard", "dashboard", "--listen", dashboard)
        start("keda", "keda", "--listen", keda)
        at = mesh.places
        self.processes |= mesh.start("control", "decide", "activate", "log", provisioner=False)
        self.doors = (gateway, at.edge)
        self.listeners = {
            **self.scraped, "gateway": gateway, "dashboard": dashboard, "keda's": keda,
            "provisioner": mesh.provisioner_at, "edge": at.edge, "decide": at.decide,
            "leases": at.leases, "activate": at.activate, "log": at.log,
        }  # fmt: skip
        for name, where in (("gateway", gateway), ("dashboard", dashboard)):
            eventually(lambda n=name, w=where: answers(self.processes[n], w))  # type: ignore[misc]

    def look(self) -> None:
        """Ask each process for its metrics or health."""
        asked = {name: f"{at}/metrics" for name, at in self.scraped.items()}
        for name in ("gateway", "dashboard", "decide"):
            asked[name] = f"{self.listeners[name]}/healthz"
        for name, at in asked.items():
            began = time.monotonic()
            with suppress(urllib.error.HTTPError):
                urllib.request.urlopen(f"http://{at}", timeout=30).read()
            slowest_s = max(self.slowest_s.get(name, 0.0), time.monotonic() - began)
            self.slowest_s[name] = slowest_s

    def ended(self) -> dict[str, str]:
        """The last words of each process that has ended, or told of a fault of its own."""
        return {
            name: one.output[-2_000:]
            for name, one in self.processes.items()
            if one.process.poll() is not None or "Traceback" in one.output
        }


def outcomes_by_request(live: Live) -> Counter[str]:
    """How many outcomes each request has, among all that the topic holds now."""
    found = Counter[str]()
    for message in read_topic(live.settings, live.settings.topic("outcomes")):
        with suppress(RecordUndecodable):
            record = codec.decode(message.value() or b"")
            if isinstance(record, Outcome):
                found[record.request_id] += 1
    return found


def again_and_again(ended: threading.Event, every_s: float, act: Callable[[], None]) -> None:
    while not ended.wait(every_s):
        act()


def sending(live: Live, chance: random.Random) -> Callable[[], None]:
    producer, records = CheckedProducer(producer_config(live.settings)), hostile_records()
    began, sent = time.monotonic(), 0

    def one() -> None:
        nonlocal sent
        topic, key, value = chance.choice(records)
        if sent > MOST_BYTES_S * (time.monotonic() - began) and len(value) > 10_000:
            return
        if chance.random() < 0.1:
            value = chance.randbytes(chance.randrange(2_000))
        sent += len(value)
        producer.send(live.settings.topic(topic), key, value)
        producer.flush(20)

    return one


def shouting(everything: Everything, chance: random.Random) -> Callable[[], None]:
    brings = {
        "content-type": "application/json",
        "x-foremesh-user": "mallory",
        "authorization": f"Bearer {token_of(everything.live.settings)}",
    }

    def one() -> None:
        host, _, port = chance.choice(sorted(everything.listeners.values())).partition(":")
        path = chance.choice(
            ["/only-a", "/use", "/lease", "/release", "/standard", "/metrics", "/"]
        )
        data = spoilt_request(chance, path, brings)
        if chance.random() < 0.3:
            data = chance.randbytes(chance.randrange(5_000))
        with suppress(OSError), socket.create_connection((host, int(port)), 5) as line:
            line.settimeout(0.05)
            line.sendall(data)
            if chance.random() < 0.5:
                line.recv(65_536)

    return one


def acting(everything: Everything, honest: Honest) -> Iterator[tuple[float, Callable[[], None]]]:
    chance = random.Random(SEED)
    yield RECORDS_S, sending(everything.live, chance)
    yield BYTES_S, shouting(everything, random.Random(SEED + 1))
    yield HONEST_S, honest.ask
    yield 1.0, everything.look


@pytest.mark.timeout(LONG_S + 600)
def test_nothing_ends_nothing_blocks_and_each_honest_request_has_its_one_outcome(
    live: Live, run_foremesh: RunForemesh
) -> None:
    catalog = catalog_of(constituent("a", concurrency=8), pool=POOL)
    send(live.settings, catalog)
    everything = Everything(live, run_foremesh)
    honest, ended = Honest(everything.doors), threading.Event()
    threads = [
        threading.Thread(target=again_and_again, args=(ended, *each))
        for each in acting(everything, honest)
    ]
    for thread in threads:
        thread.start()
    time.sleep(LONG_S)
    ended.set()
    for thread in threads:
        thread.join(60)

    print(  # noqa: T201 - its purpose
        f"\nFOREMESH_HOSTILE_SEED={SEED}: {len(honest.sent)} honest requests, the slowest answered"
        f" in {max(honest.waits_s):.2f} s; health and metrics, at most, in s:",
        {name: round(wait_s, 2) for name, wait_s in everything.slowest_s.items()},
    )
    assert everything.ended() == {}
    assert honest.faults == []
    assert max(everything.slowest_s.values()) < LONGEST_S

    def told() -> bool:
        found = outcomes_by_request(live)
        assert {name: found[name] for name in honest.sent if found[name] != 1} == {}
        return True

    eventually(told, 120)
    live.catch_up()
