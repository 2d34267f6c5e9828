"""Records as rows of the tables of `postgres_tables`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
from streams.records.trials import Trial
from streams.records.verdicts import Verdict

__all__ = ["Row", "rows_of", "storable"]

Row = tuple[Any, ...]

START_BYTES = 1024  # of a dead letter's key and value; whole they are on Kafka
NUL, NUL_SHOWN = "\0", "\N{SYMBOL FOR NULL}"  # PostgreSQL has no text with NUL in it


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


def _trial(r: Trial, offset: int) -> Iterator[tuple[str, Row]]:
    for i, s in enumerate(r.scores):
        times = (s.cold_ms, s.saved_ms, s.warm_ms, s.wasted_ms)
        row = (r.pool, r.since_ms, s.variant, i == 0, r.at_ms, s.requests, *times)
        yield "trials", (*row, s.worth, s.cost, offset)


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
    Trial: _trial,
    Instance: _instance,
    Utilisation: _utilisation,
    Outcome: _outcome,
    DeadLetter: _dead_letter,
}
