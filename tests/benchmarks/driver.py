"""Runs the contenders, each a process of its own, on topics of their own."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

from work import STAGES

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import connect, producer_config
from streams.adapters.kafka.topics import create_topics, declared
from streams.engine.producer import CheckedProducer
from streams.records import Record, Request
from streams.settings import Settings
from streams.stages.base import StepContext

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
QUIX = CHECKOUT / "build" / "bench" / "venv"
LIMIT_S = 300


def requests(users: int, seed: int = 1) -> Iterator[Request]:
    """Users who each go round a few services of their own, most of the time."""
    chance = random.Random(seed)
    habits = {n: chance.sample(range(24), 4) for n in range(min(users, 10_000))}
    number = 0
    while True:
        user = int(users * chance.random() ** 1.5)
        habit = habits[user % len(habits)]
        service = habit[number // 7 % 4] if chance.random() < 0.8 else chance.randrange(24)
        yield Request(
            request_id=f"r{number}", user=f"user{user}", service=f"service-{service}",
            at_ms=1_700_000_000_000 + number * 3, parameters={"steps": "20"},
        )  # fmt: skip
        number += 1


@contextmanager
def corner(base: Settings) -> Iterator[Settings]:
    """Topics that nobody else uses."""
    own = replace(base, prefix=f"b{uuid.uuid4().hex[:6]}-")
    create_topics(own)
    try:
        yield own
    finally:
        client = connect(own)
        for future in client.delete_topics(list(declared(own))).values():
            future.result(30)


def fill(settings: Settings, count: int, users: int) -> None:
    producer = CheckedProducer(producer_config(settings))
    topic = settings.topic("requests")
    for request in islice(requests(users), count):
        producer.send(topic, request.user.encode(), codec.encode(request))
    producer.flush(60)


def throughput(base: Settings, contender: str, case: str, count: int, users: int) -> float:
    """Records a second, from the first to the last."""
    if contender == "limit":
        return pure(case, count, users)
    with corner(base) as settings:
        fill(settings, count, users)
        python = str(QUIX / "bin" / "python") if contender == "quixstreams" else sys.executable
        argv = [python, str(HERE / f"contender_{contender}.py"), case, str(count)]
        paths = f"{CHECKOUT}{os.pathsep}{HERE}"
        env = {**os.environ, **settings.to_env(), "PYTHONPATH": paths}
        done = subprocess.run(
            argv, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        lines = [line for line in done.stdout.splitlines() if '"per_s"' in line]
        assert lines, f"{contender} {case}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        per_s: float = json.loads(lines[-1][lines[-1].index("{") :])["per_s"]
        return per_s


def pure(case: str, count: int, users: int) -> float:
    """The stage function in a loop: nothing is read, decoded, saved, sent or kept."""
    stage, events = STAGES[case](), list(islice(requests(users), count))
    state: dict[str, object] = {}
    context, made = StepContext(), deque[Record](maxlen=1)
    begun = time.perf_counter()
    for event in events:
        made.extend(stage.step(event, state, context))
    return count / (time.perf_counter() - begun)


def quix_environment() -> None:
    """quix-streams beside our own packages, but not among them: it pins other versions."""
    site = QUIX / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    if not (site / "quixstreams").exists():
        subprocess.run([sys.executable, "-m", "venv", str(QUIX)], check=True)
        pip = [str(QUIX / "bin" / "pip"), "install", "-q", "quixstreams>=3.28,<3.29"]
        subprocess.run(pip, check=True)
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "ours.pth").write_text(ours + "\n")
