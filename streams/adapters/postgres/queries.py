"""Rows of PostgreSQL as records again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

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

__all__ = ["History", "Hits", "count_outcomes", "latest_prediction", "read_history", "read_hits"]

Cursor = psycopg.Cursor[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class History:
    """What a report is made of, all as of one moment."""

    outcomes: list[Outcome]  # without their parts
    instances: list[Instance]
    commands: list[Command]  # those that started the instances


class Hits(NamedTuple):
    """Requests that found all warm."""

    hits: int
    started_before: int  # of these, served by instances all started before the request


def read_history(url: str, window_ms: int | None = None) -> History:
    """What has happened, as the database has it.

    Parameters
    ----------
    url
        Of the database.
    window_ms
        How far back from the newest outcome; None for everything.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers there, or it has no tables.
    """
    window = {"window_ms": window_ms}
    with _reading(url) as cursor:
        return History(
            [_outcome(row) for row in cursor.execute(queries()["outcomes"], window)],
            [_instance(row) for row in cursor.execute(queries()["instances"], window)],
            [_command(row) for row in cursor.execute(queries()["commands_of_instances"])],
        )


def count_outcomes(url: str, pool: str) -> int:
    """How many outcomes a pool has.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers there, or it has no tables.
    """
    row = _first_row(url, "count_outcomes", pool=pool)
    return int(row["count"]) if row else 0


def read_hits(url: str, pool: str) -> Hits:
    """The hits of a pool.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers there, or it has no tables.
    """
    row = _first_row(url, "hits", pool=pool)
    return Hits(**row) if row else Hits(0, 0)


def latest_prediction(url: str, user: str) -> Prediction | None:
    """The user's latest vector; None for a user never seen.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers there, or it has no tables.
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
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
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
