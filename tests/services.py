"""Real small services for tests that start instances."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from harness import RunForemesh, Running, eventually

from foremesh.testing import provisioners as kit
from streams.adapters.avro import codec
from streams.adapters.kafka.clients import client_config, producer_config
from streams.engine.producer import CheckedProducer
from streams.flow.topology import key_of, topic_of
from streams.records import Record
from streams.records.catalog import Catalog, Composite, Constituent, Pool, Tier
from streams.runtime.ports import free_port
from streams.settings import Settings

ONE, command = kit.ONE, kit.order
SERVICE = str(Path(__file__).with_name("small_service.py"))


def constituent(name: str, *more: str, concurrency: int = 1) -> Constituent:
    """A constituent that is quick to start."""
    return Constituent(
        service=name,
        needs=ONE,
        warm_up_ms=100,
        price=1.0,
        concurrency=concurrency,
        command=("{python}", "-S", "-I", SERVICE, *more),
    )


def catalog_of(
    *constituents: Constituent,
    room: int = 4,
    pool: str = "default",
    idempotent: bool = False,
    trust_tier_header: bool = False,
) -> Catalog:
    """These constituents, a composite of each, one of all, and a pool for `room` instances."""
    names = [one.service for one in constituents]
    steps = {
        **{f"only-{name}": ((name,),) for name in names},
        "all": tuple((name,) for name in names),
        "together": (tuple(names),),
    }
    return Catalog.of(
        [
            *constituents,
            *(
                Composite(service=name, steps=each, idempotent=idempotent)
                for name, each in steps.items()
            ),
            Pool(pool=pool, capacity=ONE.times(room), trust_tier_header=trust_tier_header),
            Tier(tier="gold", weight=2.0, sla_ms=500, priority=2),
            Tier(tier="standard", weight=1.0, sla_ms=2_000, priority=0),
        ]
    )


class Door:
    """A gateway and its provisioner as child processes, and how to knock."""

    def __init__(self, run: RunForemesh, *, pool: str = "default", **env: str) -> None:
        self.gateway_at, self.provisioner_at = (f"127.0.0.1:{free_port()}" for _ in range(2))
        env["FOREMESH_PROVISIONER"] = f"http://{self.provisioner_at}"
        listen = ("--pool", pool, "--listen")
        self.provisioner = run("provision", *listen, self.provisioner_at, **env)
        self.gateway = run("gateway", *listen, self.gateway_at, **env)
        for one, at in ((self.provisioner, self.provisioner_at), (self.gateway, self.gateway_at)):
            eventually(lambda one=one, at=at: answers(one, at))  # type: ignore[misc]

    async def ask(
        self, session: aiohttp.ClientSession, composite: str, user: str = "u1", **headers: str
    ) -> Answer:
        headers = {"x-foremesh-user": user, **headers}
        url = f"http://{self.gateway_at}/{composite}"
        async with session.post(url, json={"width": 512}, headers=headers) as answer:
            return Answer(answer.status, answer.headers, await answer.json())


class Answer(NamedTuple):
    """What the gateway answered."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]


def answers(running: Running, at: str) -> bool:
    """Whether a process serves; an error when it has ended instead."""
    if running.process.poll() is not None:
        raise RuntimeError(running.output)
    try:
        with urllib.request.urlopen(f"http://{at}/healthz", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def send(settings: Settings, records: Iterable[Record]) -> None:
    """Put records on their topics."""
    producer = CheckedProducer(producer_config(settings))
    for record in records:
        producer.send(settings.topic(topic_of(record)), key_of(record), codec.encode(record))
    producer.flush(20)


def read(settings: Settings, topic: str) -> list[Record]:
    """All that is on a topic, as of now; markers of transactions stand at places of their own."""
    eof = {"enable.partition.eof": True}
    consumer = Consumer({**client_config(settings), "group.id": "reader", **eof})
    try:
        found: list[Record] = []
        for partition in range(settings.partitions):
            at = TopicPartition(settings.topic(topic), partition)
            low, high = eventually(partial(_offsets, consumer, at), 30)
            consumer.assign([TopicPartition(at.topic, partition, low)])
            while high > low:
                for message in consumer.consume(high - low, 0.5):
                    error, value = message.error(), message.value()
                    if error is None and value is not None:
                        found.append(codec.decode(value))
                    ended = error is not None and error.code() == KafkaError._PARTITION_EOF
                    if error is None or ended:
                        low = (message.offset() or 0) + (not ended)
        return found
    finally:
        consumer.close()


def _offsets(consumer: Consumer, at: TopicPartition) -> tuple[int, int]:
    """Where the partition begins and ends; not so yet while it has no leader."""
    try:
        return consumer.get_watermark_offsets(at, 10)
    except KafkaException as error:
        raise AssertionError(str(error)) from error
