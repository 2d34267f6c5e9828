"""Queries whose rows are returned as records or counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from streams.adapters.postgres.connection import connected
from streams.adapters.postgres.rows import storable
from streams.adapters.postgres.sql import queries
from streams.records import (
    Action,
    Command,
    Instance,
    InstanceState,
    Outcome,
    Prediction,
    Result,
    Route,
    ServiceProbability,
    Source,
)

__all__ = [
    "HistoryRange",
    "StoredHistory",
    "count_outcomes",
    "latest_prediction",
    "read_history",
]

Cursor = psycopg.Cursor[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRange:
    """What part of the history to read: of one pool, between two event times."""

    pool: str | None = None  # None: of all
    from_ms: int | None = None
    until_ms: int | None = None  # what is of this very time is left out
    last_ms: int | None = None  # in place of `from_ms`: so long before the newest outcome


@dataclass(frozen=True, slots=True)
class StoredHistory:
    """The records behind a report, all of one snapshot."""

    outcomes: list[Outcome]  # without their parts
    instances: list[Instance]
    commands: list[Command]  # those that started the instances
    clocks: dict[str, int]  # the newest time of each pool
    from_ms: int | None = None  # when it begins


def read_history(url: str, part: HistoryRange | None = None) -> StoredHistory:
    """Outcomes, instances and their commands; all, or of a part of the history.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers at this URL, or a table is missing.
    """
    with _reading(url) as cursor:
        bounds = _bounds(cursor, part or HistoryRange())
        return StoredHistory(
            [_outcome(row) for row in cursor.execute(queries()["outcomes"], bounds)],
            [_instance(row) for row in cursor.execute(queries()["instances"], bounds)],
            [_command(row) for row in cursor.execute(queries()["commands_of_instances"])],
            {row["pool"]: row["now_ms"] for row in cursor.execute(queries()["clocks"], bounds)},
            bounds["from_ms"],
        )


def _bounds(cursor: Cursor, part: HistoryRange) -> dict[str, Any]:
    """The part as parameters of a query."""
    bounds = {"pool": storable(part.pool), "from_ms": part.from_ms, "until_ms": part.until_ms}
    if part.last_ms is not None:
        newest = cursor.execute(queries()["newest_outcome"], bounds).fetchone()
        if newest and newest["at_ms"] is not None:
            bounds["from_ms"] = newest["at_ms"] - part.last_ms
    return bounds


def count_outcomes(url: str, pool: str) -> int:
    """The number of outcomes of a pool.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers at this URL, or a table is missing.
    """
    row = _first_row(url, "count_outcomes", pool=pool)
    return int(row["count"]) if row else 0


def latest_prediction(url: str, user: str) -> Prediction | None:
    """The latest prediction of a user; None for an unknown one.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers at this URL, or a table is missing.
    """
    row = _first_row(url, "prediction", user_id=user)
    return None if row is None else _prediction(row)


def _first_row(url: str, query: str, **given: str) -> dict[str, Any] | None:
    with _reading(url) as cursor:
        values = {name: storable(value) for name, value in given.items()}
        return cursor.execute(queries()[query], values).fetchone()


@contextmanager
def _reading(url: str) -> Iterator[Cursor]:
    with connected(url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield connection.cursor(row_factory=dict_row)


def _outcome(row: dict[str, Any]) -> Outcome:
    row["result"], row["route"] = Result(row["result"]), Route(row["route"])
    row["source"] = Source(row["source"])
    return Outcome(**row, parts=())


def _instance(row: dict[str, Any]) -> Instance:
    row["state"] = InstanceState(row["state"])
    return Instance(**row)


def _command(row: dict[str, Any]) -> Command:
    row["action"] = Action(row["action"])
    return Command(**row)


def _prediction(row: dict[str, Any]) -> Prediction:
    vector = zip(row.pop("services"), row.pop("probabilities"), row.pop("within"), strict=True)
    expected_ms = tuple(row.pop(f"expected_{quantile}_ms") for quantile in ("p10", "p50", "p90"))
    return Prediction(
        **row,
        services=tuple(
            ServiceProbability(service=service, probability=probability, within=within)
            for service, probability, within in vector
        ),
        expected_ms=expected_ms,
    )
