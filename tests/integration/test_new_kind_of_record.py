"""A new kind of record is one row of the topology, one schema, one migration and its columns."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from harness import CHECKOUT, Eventually

from streams.adapters.avro.codec import RecordCodec
from streams.adapters.kafka.clients import connect, producer_config
from streams.adapters.kafka.lag import group_lags
from streams.adapters.kafka.topics import create_topics, declared
from streams.adapters.postgres.maintenance import migrate, prune
from streams.adapters.postgres.rows import OFFSET, StoredTable, of_record
from streams.adapters.postgres.sql import migrations
from streams.adapters.postgres.tables import TABLES, stored_tables
from streams.engine.producer import CheckedProducer
from streams.flow.declaration import SINK, FlowTopology, RecordKind, Topic
from streams.flow.topology import STAGES, TOPICS
from streams.pipeline.sink import RecordSink
from streams.records import Record
from streams.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    receipt_id: str
    user: str
    at_ms: int
    paid: float


RECEIPT = cast("Record", Receipt(receipt_id="r1", user="ann", at_ms=1_700_000_000_000, paid=2.5))

ROW = Topic(
    name="receipts",
    kinds=(RecordKind(Receipt, "receipt", attrgetter("user")),),
    keyed_by="user",
    about="what a request was paid with",
    stored=True,
)
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Receipt",
    "namespace": "foremesh",
    "fields": [
        {"name": "receipt_id", "type": "string"},
        {"name": "user", "type": "string"},
        {"name": "at_ms", "type": "long"},
        {"name": "paid", "type": "double"},
    ],
}
MIGRATION = """
CREATE TABLE receipts (
    receipt_id text PRIMARY KEY,
    "user" text NOT NULL,
    at_ms bigint NOT NULL,
    paid double precision NOT NULL,
    kafka_offset bigint NOT NULL
)"""
COLUMNS = StoredTable(
    name="receipts",
    record=Receipt,
    columns=(*of_record("receipt_id user at_ms paid"), OFFSET),
    key=("receipt_id",),
    pruned_by="at_ms",
)

TOPOLOGY = FlowTopology((*TOPICS.values(), ROW), STAGES.values())


@pytest.fixture
def codec(tmp_path: Path) -> RecordCodec:
    schemas = tmp_path / "schemas"
    shutil.copytree(CHECKOUT / "schemas", schemas)
    (schemas / "receipt").mkdir()
    (schemas / "receipt" / "v1.avsc").write_text(json.dumps(SCHEMA))
    return RecordCodec(schemas, TOPOLOGY)


@pytest.fixture
def sent(settings: Settings, codec: RecordCodec) -> Iterator[None]:
    """Topics and table of the new kind, and a record of it on Kafka."""
    create_topics(settings, TOPOLOGY)
    migrate(settings.postgres, {**migrations(), "9999_receipts": MIGRATION})
    producer = CheckedProducer(producer_config(settings))
    topic = settings.topic(TOPOLOGY.topic_of(RECEIPT))
    producer.send(topic, TOPOLOGY.key_of(RECEIPT), codec.encode(RECEIPT))
    producer.flush(10)
    yield
    client = connect(settings)
    for future in client.delete_topics(list(declared(settings, TOPOLOGY))).values():
        future.result(10)


def sink_lag(settings: Settings) -> int:
    [lag] = [one.records for one in group_lags(settings, TOPOLOGY) if one.stage == SINK]
    return lag


def stored(settings: Settings) -> list[tuple[Any, ...]]:
    with psycopg.connect(settings.postgres) as connection:
        return connection.execute("SELECT * FROM receipts").fetchall()


def sink_until_stored(settings: Settings, codec: RecordCodec, eventually: Eventually) -> None:
    sink = RecordSink(settings, topology=TOPOLOGY, codec=codec, tables=(*TABLES, COLUMNS))
    thread = threading.Thread(target=sink.run)
    thread.start()
    try:
        eventually(lambda: stored(settings))
    finally:
        sink.stop()
        thread.join(20)
    assert not thread.is_alive()


def test_it_is_encoded_decoded_and_keyed(codec: RecordCodec) -> None:
    assert codec.decode(codec.encode(RECEIPT)) == RECEIPT
    assert (TOPOLOGY.topic_of(RECEIPT), TOPOLOGY.key_of(RECEIPT)) == ("receipts", b"ann")


@pytest.mark.usefixtures("sent")
def test_it_is_written_to_its_table_and_counted_by_the_lag_of_the_sink(
    settings: Settings, codec: RecordCodec, eventually: Eventually
) -> None:
    assert sink_lag(settings) == 1

    sink_until_stored(settings, codec, eventually)

    assert stored(settings) == [("r1", "ann", 1_700_000_000_000, 2.5, 0)]
    assert sink_lag(settings) == 0


@pytest.mark.usefixtures("sent")
def test_it_is_pruned_with_the_others(
    settings: Settings, codec: RecordCodec, eventually: Eventually
) -> None:
    sink_until_stored(settings, codec, eventually)
    with psycopg.connect(settings.postgres) as connection:
        connection.execute(
            "INSERT INTO predictions SELECT 'ann', 'r1', '', '', '{}', '{}', '{}', 1, 1, 1, 1, 1,"
            " 1700000000001, 1, '', 0"
        )

    deleted = prune(settings.postgres, 0, stored_tables(TOPOLOGY, (*TABLES, COLUMNS)))

    assert deleted["receipts"] == 1
    assert stored(settings) == []
