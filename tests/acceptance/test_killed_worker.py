from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from harness import eventually
from live import Live

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.engine.producer import CheckedProducer
from streams.flow.topology import key_of
from streams.records import Outcome, Request

NUMBER = 6_000
PER_S = 400
CATALOGUE = """\
constituents:
  base: {cpu: 100, memory: 100, warm_up_ms: 1000, price: 0.5}
  style: {cpu: 100, memory: 100, warm_up_ms: 1000, price: 0.5}
composites:
  sketch: [base]
  portrait: [[base, style]]
tiers:
  standard: {weight: 0.05, sla_ms: 1000}
pools:
  default: {cpu: 1000, memory: 1000, bandwidth: 100}
"""


def send(live: Live) -> None:
    """Send requests at a steady rate."""
    chance, begun = random.Random(3), time.monotonic()
    producer = CheckedProducer(producer_config(live.settings))
    for number in range(NUMBER):
        request = Request(
            request_id=f"r{number}",
            user=f"user{chance.randrange(200)}",
            service=chance.choice(["sketch", "portrait"]),
            at_ms=time.time_ns() // 1_000_000,
        )
        data = codec.encode(request)
        producer.send(live.settings.topic("requests"), key_of(request), data)
        time.sleep(max(begun + number / PER_S - time.monotonic(), 0.0))
    producer.flush(60)


@pytest.mark.timeout(600)
def test_a_worker_killed_in_mid_stream_loses_nothing_and_doubles_no_row(
    live: Live, tmp_path: Path
) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(CATALOGUE)
    live.catalogue(path)
    worker, sink = live.worker(), live.sink()
    load = threading.Thread(target=send, args=[live])
    load.start()
    for so_many in (500, 2_500):
        eventually(lambda n=so_many: live.rows("outcomes") > n, 120)  # type: ignore[misc]
        worker.kill()
        sink.kill()
        worker, sink = live.worker(), live.sink()
    load.join(120)
    live.be_quiet(240)

    sent = {f"r{number}" for number in range(NUMBER)}
    times = Counter(r.request_id for r in live.records("outcomes") if isinstance(r, Outcome))
    assert set(times) == sent
    assert [i for (i,) in live.query("SELECT request_id FROM outcomes ORDER BY 1")] == sorted(sent)
    history = "SELECT request_id FROM prediction_history ORDER BY 1"
    assert [i for (i,) in live.query(history)] == sorted(sent)
    assert live.rows("predictions") == 200
    parts = "SELECT count(*) FROM outcome_parts GROUP BY request_id, service HAVING count(*) > 1"
    assert live.query(parts) == []
    assert live.rows("outcome_parts") == sum(
        len(r.parts) for r in {r.request_id: r for r in outcomes_of(live)}.values()
    )
    assert live.dead() == []


def outcomes_of(live: Live) -> list[Outcome]:
    """All outcomes on Kafka."""
    return [r for r in live.records("outcomes") if isinstance(r, Outcome)]
