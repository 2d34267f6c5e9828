"""Requests of users for whom there are predictions, and topics that are deleted."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from harness import Eventually
from live import Live

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import client_config, producer_config
from streams.records import Prediction, Request
from streams.settings import Settings

__all__ = ["admin", "delete", "plain", "predicted", "produce", "take_once"]


def produce(settings: Settings, producer: Producer, name: str, count: int) -> None:
    """One request each of users of this name."""
    for number in range(count):
        user = f"{name}-{number}"
        request = Request(request_id=user, user=user, service="s", at_ms=1_700_000_000_000)
        producer.produce(settings.topic("requests"), codec.encode(request), user)
    producer.flush(20)


def plain(settings: Settings) -> Producer:
    return Producer(producer_config(settings))


def predicted(live: Live, name: str) -> int:
    found = [r.user for r in live.records("predictions") if isinstance(r, Prediction)]
    return sum(user.startswith(name) for user in found)


def admin(settings: Settings) -> Any:
    return AdminClient(client_config(settings))


def delete(settings: Settings, topic: str) -> None:
    client, name = admin(settings), settings.topic(topic)
    client.delete_topics([name])[name].result(20)
    while name in client.list_topics(timeout=10).topics:
        time.sleep(0.1)


def take_once(live: Live, eventually: Eventually, count: int, *stages: str) -> None:
    """Have a worker take so many requests of old users, and end."""
    worker = live.worker(*stages)
    produce(live.settings, plain(live.settings), "old", count)
    eventually(lambda: predicted(live, "old") == count, 60)
    live.catch_up()
    worker.stop()
