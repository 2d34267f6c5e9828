"""Workers that come and go, on stock Faust: for the record, beside the engine's own test."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import stock_counting
from engine_harness import Expected, Load, Workers, come_and_go, records
from harness import CHECKOUT
from rich.console import Console

from streams.adapters.avro.codec import decode
from streams.adapters.kafka.clients import client_config
from streams.adapters.kafka.topics import create_topics
from streams.engine.recovery import read_partition
from streams.records import Outcome
from streams.settings import Settings

PER_S = 200
QUIET_S = 90.0  # its rebalances take up to a minute


@pytest.mark.benchmark
@pytest.mark.timeout(900)
def test_what_stock_faust_keeps_of_its_state(settings: Settings, tmp_path: Path) -> None:
    own = replace(settings, prefix=f"{uuid.uuid4().hex[:6]}-", commit_ms=200, session_ms=6_000)
    create_topics(own)
    with Workers(own, tmp_path, stock_counting.main) as workers, Load(own, PER_S, 500) as load:
        workers.start()
        time.sleep(15)  # stock Faust takes so long to begin
        come_and_go(workers)
        load.stop()
        outcomes = settled(own)
    expected = Expected.of(own)
    state = {key: value for part in expected.state for key, value in part.items()}
    found = table(own)
    users = [key for key in state if key.startswith("u/")]
    record = {
        "events": load.sent,
        "lost": len(expected.outcomes.keys() - outcomes.keys()),
        "repeated": outcomes.total() - len(outcomes),
        "users": len(users),
        "exact": sum(found.get(key) == state[key] for key in users),
    }
    (CHECKOUT / "build" / "stock-under-changes.json").write_text(json.dumps(record) + "\n")
    Console().print("stock Faust under 20 changes of workers", record)
    # How stock Faust fares is told, not demanded; that it was really run is.
    assert outcomes.keys() <= expected.outcomes.keys()
    assert found.keys() <= state.keys()


def settled(settings: Settings) -> Counter[str]:
    """How often each request has its outcome, once no more come."""
    deadline, before, since = time.monotonic() + 300, -1, time.monotonic()
    while time.monotonic() < deadline:
        seen = Counter(
            made.request_id
            for number in range(settings.partitions)
            for value in records(settings, "outcomes", number)
            if isinstance(made := decode(value), Outcome)
        )
        if seen.total() != before:
            before, since = seen.total(), time.monotonic()
        elif seen and time.monotonic() - since > QUIET_S:
            return seen
        time.sleep(2)
    raise AssertionError(f"{before} outcomes, and still more come after five minutes")


def table(settings: Settings) -> dict[str, bytes]:
    """The table, as its changelog has it: keys are JSON there, and bytes are themselves."""
    topic = f"{settings.prefix}stock-state-changelog"
    config = client_config(settings)
    rows: dict[bytes, bytes | None] = {}
    for number in range(settings.partitions):
        for chunk in read_partition(config, topic, number, lambda: False):
            rows.update(chunk)
    return {json.loads(key): value for key, value in rows.items() if value is not None}
