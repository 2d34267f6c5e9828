"""The tables that records are written to: for each kind of record its columns, in one place."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from streams.adapters.postgres.rows import (
    OFFSET,
    Column,
    StoredTable,
    enums_of_record,
    number_array,
    of_part,
    of_record,
    text_array,
)
from streams.flow.declaration import FlowTopology
from streams.flow.topology import TOPOLOGY
from streams.records import Command, DeadLetter, Instance, Outcome, Prediction, Utilisation
from streams.records.control import Control
from streams.records.trials import Trial
from streams.records.verdicts import Verdict

__all__ = ["STORED_TABLES", "TABLES", "stored_tables"]

START_BYTES = 1024  # of a dead letter's key and value; more of them is on Kafka


def stored_tables(
    topology: FlowTopology, declared: Iterable[StoredTable]
) -> tuple[StoredTable, ...]:
    """The declared tables, in their order, checked against the topology.

    Raises
    ------
    TypeError
        A kind of record on a stored topic has no table, or one on another topic has.
    """
    tables = tuple(declared)
    wanted = {kind for name in topology.stored for kind in topology.topics[name].records}
    for kind in wanted ^ {table.record for table in tables}:
        missing = "no table is declared" if kind in wanted else "its topic is not stored"
        raise TypeError(f"{kind.__name__} cannot be kept in PostgreSQL: {missing}")
    return tables


def start(data: bytes | None) -> bytes | None:
    """The first bytes."""
    return None if data is None else data[:START_BYTES]


USER = Column("user_id", "record.user")  # `user` is a word of SQL
REQUEST = ("request_id", "user_id")  # whoever asks may choose the id: alone it names no request

PREDICTED: tuple[Column, ...] = (
    *of_record("request_id"),
    USER,
    *of_record("tier pool"),
    text_array("services", "services", "service"),
    number_array("probabilities", "services", "probability"),
    number_array("within", "services", "within"),
    *of_record("unseen horizon_ms"),
    Column("expected_p10_ms", lambda row: row.record.expected_ms[0]),
    Column("expected_p50_ms", lambda row: row.record.expected_ms[1]),
    Column("expected_p90_ms", lambda row: row.record.expected_ms[2]),
    *of_record("made_ms expires_ms model"),
)

# In the order in which a batch is written: with another one, two sinks may wait for each other.
TABLES: tuple[StoredTable, ...] = (
    StoredTable(
        name="predictions",
        record=Prediction,
        columns=(*PREDICTED, OFFSET),
        key=("user_id",),
        newest_by=("made_ms", "kafka_offset"),
        pruned_by="made_ms",
    ),
    StoredTable(
        name="prediction_history",
        record=Prediction,
        columns=PREDICTED,
        key=REQUEST,
        pruned_by="made_ms",
    ),
    StoredTable(
        name="commands",
        record=Command,
        columns=(
            *of_record("command_id pool"),
            *enums_of_record("action"),
            *of_record("service count tier value cost priority issued_ms expires_ms reason"),
            OFFSET,
        ),
        key=("command_id",),
        pruned_by="issued_ms",
    ),
    StoredTable(
        name="verdicts",
        record=Verdict,
        columns=(
            *of_record("pool service at_ms command_id"),
            *enums_of_record("choice mode"),
            *of_record("instance have chance value cost bound tier price horizon_ms warm_up_ms"),
            text_array("expected_services", "expected", "service"),
            text_array("expected_tiers", "expected", "tier"),
            number_array("expected_requests", "expected", "requests"),
            text_array("alternatives", "alternatives", "what"),
            number_array("alternative_values", "alternatives", "value"),
            number_array("alternative_costs", "alternatives", "cost"),
            *of_record("challenger"),
        ),
        key=("pool", "service", "at_ms", "command_id", "challenger"),
        pruned_by="at_ms",
    ),
    StoredTable(
        name="trials",
        record=Trial,
        columns=(
            *of_record("pool since_ms"),
            *of_part("variant"),
            Column("champion", lambda row: row.position == 1),
            *of_record("at_ms"),
            *of_part("requests cold_ms saved_ms warm_ms wasted_ms worth cost"),
            OFFSET,
        ),
        key=("pool", "since_ms", "variant"),
        newest_by=("at_ms", "kafka_offset"),
        parts=attrgetter("scores"),
        pruned_by="at_ms",
    ),
    StoredTable(
        name="controls",
        record=Control,
        columns=(
            *of_record("pool at_ms"),
            Column("said_by", "record.by"),
            *of_record("reason"),
            *enums_of_record("mode"),
            *of_record("paused budget"),
            text_array("pins", "pins", "words"),
            text_array("quota_tiers", "quotas", "tier"),
            number_array("quota_budgets", "quotas", "budget"),
            Column("champion", "record.champion.name"),
            Column("challenger", lambda row: row.record.challenger and row.record.challenger.name),
            OFFSET,
        ),
        key=("pool", "at_ms"),
        newest_by=("kafka_offset",),
        kept=True,
    ),
    StoredTable(
        name="instances",
        record=Instance,
        columns=(
            *of_record("instance_id service pool"),
            *enums_of_record("state"),
            *of_record("endpoint command_id started_ms changed_ms warm_since_ms gone_ms uses"),
            *of_record("busy_ms reason"),
            OFFSET,
        ),
        key=("instance_id",),
        newest_by=("changed_ms", "kafka_offset"),
        pruned_by="gone_ms",
    ),
    StoredTable(
        name="utilisation",
        record=Utilisation,
        columns=(
            *of_record("pool at_ms"),
            Column("cpu_capacity", "record.capacity.cpu"),
            Column("cpu_used", "record.used.cpu"),
            Column("memory_capacity", "record.capacity.memory"),
            Column("memory_used", "record.used.memory"),
            Column("bandwidth_capacity", "record.capacity.bandwidth"),
            Column("bandwidth_used", "record.used.bandwidth"),
        ),
        key=("pool", "at_ms"),
        pruned_by="at_ms",
    ),
    StoredTable(
        name="outcomes",
        record=Outcome,
        columns=(
            *of_record("request_id"),
            USER,
            *of_record("tier pool service at_ms"),
            *enums_of_record("result route"),
            *of_record("status latency_ms cold_ms saved_ms"),
            *enums_of_record("source"),
        ),
        key=REQUEST,
        pruned_by="at_ms",
    ),
    StoredTable(
        name="outcome_parts",
        record=Outcome,
        columns=(
            *of_record("request_id"),
            USER,
            Column("position", "position"),
            *of_part("service warm instance_id wait_ms serve_ms warm_up_ms"),
        ),
        key=(*REQUEST, "position"),
        parts=attrgetter("parts"),
        pruned_with="outcomes",
    ),
    StoredTable(
        name="dead_letters",
        record=DeadLetter,
        columns=(
            Column("kafka_topic", "record.topic"),
            Column("kafka_partition", "record.partition"),
            Column("kafka_offset", "record.offset"),
            *of_record("stage reason at_ms"),
            Column("key", lambda row: start(row.record.key)),
            Column("value_start", lambda row: start(row.record.value)),
            Column("value_bytes", "record.size"),
            Column("sha256", "record.sha256"),
        ),
        key=("kafka_topic", "kafka_partition", "kafka_offset", "stage"),
        pruned_by="at_ms",
    ),
)

STORED_TABLES = stored_tables(TOPOLOGY, TABLES)
