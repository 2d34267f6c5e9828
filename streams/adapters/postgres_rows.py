"""Records as rows: which tables there are to write, and what stands in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from streams.records import (
    Command,
    DeadLetter,
    Instance,
    Outcome,
    Prediction,
    Record,
    Utilisation,
)
from streams.verdict import Verdict

__all__ = ["TABLES", "Row", "Table", "rows_of", "storable"]

Row = tuple[Any, ...]

START_BYTES = 1024  # of a dead letter's key and value; whole they are on Kafka
NUL, NUL_SHOWN = "\0", "\N{SYMBOL FOR NULL}"  # PostgreSQL has no text with NUL in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table to write: which row holds when two have one key."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    newest_by: tuple[str, ...] = ()  # the row highest in these holds; without, the first one


def _table(name: str, columns: str, *, key: str, newest_by: str = "") -> Table:
    return Table(
        name=name,
        key=tuple(key.split()),
        columns=tuple(columns.split()),
        newest_by=tuple(newest_by.split()),
    )


_PREDICTED = (
    "request_id user_id tier pool services probabilities within unseen horizon_ms expected_p10_ms expected_p50_ms"
    " expected_p90_ms made_ms expires_ms model"
)

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        _table(
            "predictions",
            f"{_PREDICTED} kafka_offset",
            key="user_id",
            newest_by="made_ms kafka_offset",
        ),
        _table("prediction_history", _PREDICTED, key="request_id"),
        _table(
            "commands",
            "command_id pool action service count tier value cost priority issued_ms expires_ms"
            " reason kafka_offset",
            key="command_id",
        ),
        _table(
            "verdicts",
            "pool service at_ms command_id choice mode instance have chance value cost bound tier"
            " price horizon_ms warm_up_ms expected_services expected_tiers expected_requests"
            " alternatives alternative_values alternative_costs challenger",
            key="pool service at_ms command_id challenger",
        ),
        _table(
            "instances",
            "instance_id service pool state endpoint command_id started_ms changed_ms"
            " warm_since_ms gone_ms uses busy_ms reason kafka_offset",
            key="instance_id",
            newest_by="changed_ms kafka_offset",
        ),
        _table(
            "utilisation",
            "pool at_ms cpu_capacity cpu_used memory_capacity memory_used bandwidth_capacity"
            " bandwidth_used",
            key="pool at_ms",
        ),
        _table(
            "outcomes",
            "request_id user_id tier pool service at_ms result route status latency_ms cold_ms"
            " saved_ms source",
            key="request_id",
        ),
        _table(  # after outcomes, which it refers to
            "outcome_parts",
            "request_id position service warm instance_id wait_ms serve_ms warm_up_ms",
            key="request_id position",
        ),
        _table(
            "dead_letters",
            "kafka_topic kafka_partition kafka_offset stage reason at_ms key value_start"
            " value_bytes",
            key="kafka_topic kafka_partition kafka_offset stage",
        ),
    )
}


def rows_of(record: Record, offset: int) -> Iterator[tuple[str, Row]]:
    """The rows of a record that stands at `offset` of its partition, each with its table.

    Raises
    ------
    TypeError
        Records of this type are not kept in PostgreSQL.
    """
    make = _ROWS.get(type(record))
    if make is None:
        raise TypeError(f"a {type(record).__name__} is not kept in PostgreSQL")
    for table, row in make(record, offset):
        yield table, tuple([storable(value) for value in row])


def storable(value: Any) -> Any:
    """A value as PostgreSQL can hold it: text without NUL."""
    return value.replace(NUL, NUL_SHOWN) if type(value) is str and NUL in value else value


def _numbers(values: list[float]) -> str:
    """An array as PostgreSQL reads it; the driver's own way takes ten times as long."""
    return "{" + str(values)[1:-1] + "}"


def _texts(values: list[str]) -> str:
    """The same of texts."""
    quoted = [value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
    return '{"' + '","'.join(quoted) + '"}' if quoted else "{}"


def _prediction(r: Prediction, offset: int) -> Iterator[tuple[str, Row]]:
    row = (
        r.request_id,
        r.user,
        r.tier,
        r.pool,
        _texts([entry.service for entry in r.services]),
        _numbers([entry.probability for entry in r.services]),
        _numbers([entry.within for entry in r.services]),
        r.unseen,
        r.horizon_ms,
        *r.expected_ms,
        r.made_ms,
        r.expires_ms,
        r.model,
    )
    yield "predictions", (*row, offset)
    yield "prediction_history", row


def _command(r: Command, offset: int) -> Iterator[tuple[str, Row]]:
    yield (
        "commands",
        (
            r.command_id,
            r.pool,
            r.action.value,
            r.service,
            r.count,
            r.tier,
            r.value,
            r.cost,
            r.priority,
            r.issued_ms,
            r.expires_ms,
            r.reason,
            offset,
        ),
    )


def _verdict(r: Verdict, offset: int) -> Iterator[tuple[str, Row]]:
    del offset
    yield (
        "verdicts",
        (
            r.pool,
            r.service,
            r.at_ms,
            r.command_id,
            r.choice.value,
            r.mode.value,
            r.instance,
            r.have,
            r.chance,
            r.value,
            r.cost,
            r.bound,
            r.tier,
            r.price,
            r.horizon_ms,
            r.warm_up_ms,
            _texts([e.service for e in r.expected]),
            _texts([e.tier for e in r.expected]),
            _numbers([e.requests for e in r.expected]),
            _texts([a.what for a in r.alternatives]),
            _numbers([a.value for a in r.alternatives]),
            _numbers([a.cost for a in r.alternatives]),
            r.challenger,
        ),
    )


def _instance(r: Instance, offset: int) -> Iterator[tuple[str, Row]]:
    yield (
        "instances",
        (
            r.instance_id,
            r.service,
            r.pool,
            r.state.value,
            r.endpoint,
            r.command_id,
            r.started_ms,
            r.changed_ms,
            r.warm_since_ms,
            r.gone_ms,
            r.uses,
            r.busy_ms,
            r.reason,
            offset,
        ),
    )


def _utilisation(r: Utilisation, offset: int) -> Iterator[tuple[str, Row]]:
    del offset
    have, used = r.capacity, r.used
    amounts = (have.cpu, used.cpu, have.memory, used.memory, have.bandwidth, used.bandwidth)
    yield "utilisation", (r.pool, r.at_ms, *amounts)


def _outcome(r: Outcome, offset: int) -> Iterator[tuple[str, Row]]:
    del offset
    yield (
        "outcomes",
        (
            r.request_id,
            r.user,
            r.tier,
            r.pool,
            r.service,
            r.at_ms,
            r.result.value,
            r.route.value,
            r.status,
            r.latency_ms,
            r.cold_ms,
            r.saved_ms,
            r.source.value,
        ),
    )
    for position, part in enumerate(r.parts, start=1):
        times = (part.wait_ms, part.serve_ms, part.warm_up_ms)
        row = (r.request_id, position, part.service, part.warm, part.instance_id, *times)
        yield "outcome_parts", row


def _dead_letter(r: DeadLetter, offset: int) -> Iterator[tuple[str, Row]]:
    del offset
    place = (r.topic, r.partition, r.offset)
    size = None if r.value is None else len(r.value)
    starts = [None if data is None else data[:START_BYTES] for data in (r.key, r.value)]
    yield "dead_letters", (*place, r.stage, r.reason, r.at_ms, *starts, size)


_ROWS: Mapping[type, Callable[[Any, int], Iterator[tuple[str, Row]]]] = {
    Prediction: _prediction,
    Command: _command,
    Verdict: _verdict,
    Instance: _instance,
    Utilisation: _utilisation,
    Outcome: _outcome,
    DeadLetter: _dead_letter,
}
