from __future__ import annotations

import gzip
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from harness import CHECKOUT
from live import Live

from streams.adapters.logs.request_log import read_log
from streams.records import Outcome, Request
from streams.settings import Settings

NUMBER = 10_000  # of its requests; three have no service
TRACE = CHECKOUT.parent / "shared" / "data" / "gentd26" / "events.csv.gz"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Event time, since the log is old, and seldom a tick, since it is sparse."""
    return replace(settings, clock="event", tick_ms=600_000)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The first requests of the trace."""
    path = tmp_path / "events.csv.gz"
    with gzip.open(TRACE, "rt") as trace, gzip.open(path, "wt") as file:
        file.writelines(islice(trace, 1 + NUMBER))
    return path


@pytest.mark.traces
@pytest.mark.skipif(not TRACE.exists(), reason=f"there is no {TRACE}")
@pytest.mark.timeout(900)
def test_a_recorded_log_goes_through_whole(live: Live, log: Path, tmp_path: Path) -> None:
    requests = [item for item in read_log(log) if isinstance(item, Request)]
    usable = {request.request_id for request in requests if request.service}
    assert (len(requests), len(usable)) == (NUMBER, NUMBER - 3)
    catalogue = tmp_path / "catalog.yaml"
    live.run("catalog", "infer", str(log), "-o", str(catalogue))
    live.catalogue(catalogue)
    worker, sink = live.worker(), live.sink()

    assert f"{NUMBER:,} requests delivered" in live.run("produce", str(log))
    live.be_quiet(600)

    outcomes = Counter(r.request_id for r in live.records("outcomes") if isinstance(r, Outcome))
    assert outcomes == dict.fromkeys(usable, 1)
    assert {i for (i,) in live.query("SELECT request_id FROM outcomes")} == usable
    assert {i for (i,) in live.query("SELECT request_id FROM prediction_history")} == usable
    assert live.count("predictions") == live.rows("prediction_history") == len(usable)
    assert live.rows("predictions") == len({r.user for r in requests if r.service})
    assert live.count("commands") == live.rows("commands") > 0

    refused = [letter.letter for letter in live.dead()]
    assert {(r.topic, r.reason) for r in refused} == {("requests", "service is empty")}
    assert len(refused) == 3
    assert live.query("SELECT DISTINCT reason FROM dead_letters") == [("service is empty",)]
    assert live.rows("dead_letters") == 3
    assert worker.process.poll() is None
    assert sink.process.poll() is None
