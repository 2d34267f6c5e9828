"""What a worker tells Prometheus that it has still to handle."""

from __future__ import annotations

import re
import urllib.error
import urllib.request

from confluent_kafka import Producer
from harness import Eventually
from live import Live

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.records import Prediction, Request
from streams.runtime.ports import free_ports

LAG = re.compile(r'^foremesh_lag\{.*stage="profiler"\} (\S+)$', re.MULTILINE)


def lags(port: int) -> list[float]:
    """Of each partition; none before the worker is there."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return [float(found) for found in LAG.findall(answer.read().decode())]
    except urllib.error.URLError:
        return []


def test_what_waits_for_a_transaction_that_is_open_is_lag_and_told(
    live: Live, eventually: Eventually
) -> None:
    settings, [port] = live.settings, free_ports(1)
    worker = live.worker("profiler", FOREMESH_METRICS_PORT=str(port))
    eventually(lambda: lags(port) == [0.0] * settings.partitions, 90)
    producer = Producer({**producer_config(settings), "transactional.id": f"{settings.prefix}shop"})
    producer.init_transactions(20)
    producer.begin_transaction()
    for partition in range(settings.partitions):
        producer.produce(settings.topic("requests"), b"x", partition=partition)
    assert producer.flush(20) == 0

    eventually(lambda: lags(port) == [1.0] * settings.partitions, 20)
    requests = settings.topic("requests")
    said = f"{requests}[0]: a transaction that is open holds back all from offset 0 on, 1 so far"
    eventually(lambda: said in worker.output, 20)
    producer.abort_transaction(20)
    eventually(lambda: lags(port) == [0.0] * settings.partitions, 20)


def test_the_marker_behind_a_transaction_is_no_lag(live: Live, eventually: Eventually) -> None:
    settings, [port] = live.settings, free_ports(1)
    producer = Producer({**producer_config(settings), "transactional.id": f"{settings.prefix}shop"})
    producer.init_transactions(20)
    producer.begin_transaction()
    for number in range(40):
        request = Request(
            request_id=str(number), user=str(number), service="s", at_ms=1_700_000_000_000
        )
        producer.produce(settings.topic("requests"), codec.encode(request), request.user)
    producer.commit_transaction(20)

    live.worker("profiler", FOREMESH_METRICS_PORT=str(port))

    def done() -> bool:
        return sum(isinstance(found, Prediction) for found in live.records("predictions")) == 40

    eventually(done, 90)
    eventually(lambda: lags(port) == [0.0] * settings.partitions, 10)
