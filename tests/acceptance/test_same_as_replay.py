from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from harness import Running
from live import Live

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.catalog import yaml_reader
from streams.engine.producer import CheckedProducer
from streams.flow.topology import STAGES, key_of
from streams.pipeline.replay import ReplayedFlow
from streams.records import Action, Command, Instance, Outcome, Prediction, Record, Request, Result
from streams.settings import Settings

CATALOGUE = """\
constituents:
  base: {cpu: 100, memory: 100, warm_up_ms: 4000, price: 9}
  style: {cpu: 100, memory: 50, warm_up_ms: 1500, price: 3.6}
  upscale: {cpu: 200, memory: 100, bandwidth: 5, warm_up_ms: 2500, price: 9}
composites:
  sketch: [base]
  portrait: [[base, style]]
  poster: [[base, style], upscale]
tiers:
  gold: {weight: 0.05, sla_ms: 500, priority: 10}
  standard: {weight: 0.01, sla_ms: 2000}
pools:
  default: {cpu: 700, memory: 600, bandwidth: 20}
"""
NUMBER = 120  # every kind of record, of each service and tier, is among those of the first 94


def population(count: int = NUMBER) -> list[Request]:
    """Users with habits, some of them gold, five seconds from one request to the next."""
    chance, at_ms, requests = random.Random(5), 1_760_000_000_000, []
    for number in range(count):
        at_ms += chance.randrange(200, 9_000)
        user = chance.randrange(8)
        habit = ["sketch", "portrait", "poster"][(user + number // 90) % 3]
        service = habit if chance.random() < 0.8 else chance.choice(["sketch", "poster"])
        requests.append(
            Request(
                request_id=f"r{number}",
                user=f"user{user}",
                service=service,
                at_ms=at_ms,
                tier="gold" if user < 2 else "standard",
            )
        )
    return requests


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Event time, and offsets committed at once: the test waits for them hundreds of times."""
    return replace(settings, clock="event", commit_ms=20)


def of(records: list[Record], kind: type) -> list[Record]:
    """Those of a kind, in the order of their keys, for each key in the order they came."""
    return sorted((r for r in records if isinstance(r, kind)), key=lambda r: key_of(r) or b"")


@contextmanager
def held(worker: Running) -> Iterator[None]:
    """A worker that takes nothing meanwhile."""
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker.pid, signal.SIGCONT)


@pytest.mark.timeout(600)
def test_kafka_and_replay_give_the_same(live: Live, tmp_path: Path) -> None:
    """Each stage as in a replay: the allocator knows what a request started, not its outcome."""
    path = tmp_path / "catalog.yaml"
    path.write_text(CATALOGUE)
    requests = population()
    flow = ReplayedFlow(
        live.settings,
        yaml_reader.parse(CATALOGUE),
        timed=False,
        serve_ms=live.settings.serve_ms,
    )
    expected = [record for request in requests for record in flow.feed(request)]

    for compacted in ("predictions", "instances"):
        live.keep_every_record(compacted)
    live.catalogue(path)
    last = ("provisioner",), ("allocator",), ("feedback",)
    first = [name for name in STAGES if (name,) not in last]
    # Apart: in one worker the stages take requests one by one of themselves.
    apart, _, allocator, feedback = (live.worker(*names) for names in (first, *last))
    live.be_quiet()
    producer = CheckedProducer(producer_config(live.settings))
    for request in requests:
        name = live.settings.topic("requests")
        with held(feedback):
            with held(allocator):
                producer.send(name, key_of(request), codec.encode(request))
                producer.flush(10)
                live.be_quiet(but=["allocator", "feedback"])
            live.be_quiet(but=["feedback"])
        live.be_quiet()

    assert "do not wait for each other" in apart.output
    results = {r.result for r in expected if isinstance(r, Outcome)}
    assert results == {Result.HIT, Result.PARTIAL, Result.MISS}  # it is worth comparing
    assert {r.action for r in expected if isinstance(r, Command)} == set(Action)
    for topic, kind in (
        ("predictions", Prediction),
        ("commands", Command),
        ("instances", Instance),
        ("outcomes", Outcome),
    ):
        assert of(live.records(topic), kind) == of(expected, kind), topic
