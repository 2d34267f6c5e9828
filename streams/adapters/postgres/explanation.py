"""The grounds of a decision in PostgreSQL: its verdict, the users behind it, the value realised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from streams.adapters.postgres.connection import connected
from streams.adapters.postgres.rows import storable
from streams.adapters.postgres.sql import queries
from streams.records.control import Mode
from streams.records.verdicts import Alternative, Choice, Expected, Verdict

__all__ = [
    "DecisionGrounds",
    "InstanceFailure",
    "RealisedValue",
    "UserBehind",
    "grounds_at",
    "grounds_of",
]

WINDOW_MS = 24 * 3_600_000  # before the decision; users last seen earlier are left out
MOST_USERS = 10
FAILED_MS, MOST_FAILURES = 600_000, 3  # instances that failed earlier are left out

Cursor = psycopg.Cursor[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserBehind:
    """A user who was expected to need the constituent."""

    user: str
    tier: str
    service: str  # the composite
    within: float  # probability of a request within the horizon, as of the last request
    made_ms: int  # time of the last request before the decision


@dataclass(frozen=True, slots=True, kw_only=True)
class RealisedValue:
    """Value of an instance, realised and expected; see the view decision_value."""

    instance_id: str
    expected_uses: float
    expected_saved_s: float
    expected_cost: float
    realised_uses: int | None  # None: never used
    realised_saved_s: float
    wasted_s: float
    wasted_cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFailure:
    """An instance that crashed or did not start."""

    instance_id: str
    gone_ms: int
    reason: str  # in the words of where it ran


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionGrounds:
    """A decision and what it was based on."""

    verdict: Verdict
    reason: str  # of its command
    warm: int  # instances that were warm at the time of the question
    users: tuple[UserBehind, ...]  # the most likely ones, at the time of the decision
    realised: tuple[RealisedValue, ...]
    failures: tuple[InstanceFailure, ...]  # of the command, and shortly before the question


def grounds_of(url: str, command_id: str, window_ms: int = WINDOW_MS) -> DecisionGrounds | None:
    """Why a command was issued; None when it has no verdict.

    Parameters
    ----------
    window_ms
        Users who were not seen for so long before the decision are left out.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers at this URL, or a table is missing.
    """
    with connected(url) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        given = {"command_id": storable(command_id)}
        row = cursor.execute(queries()["verdict_of_command"], given).fetchone()
        return _grounds(cursor, _verdict(row), None, window_ms) if row else None


def grounds_at(
    url: str,
    service: str,
    at_ms: int | None = None,
    pool: str | None = None,
    challenger: str = "",
) -> list[DecisionGrounds]:
    """The verdict on a constituent in force at a time, in each pool; by default the newest.

    Parameters
    ----------
    challenger
        Return the simulated verdicts of this challenger instead of those in force.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers at this URL, or a table is missing.
    """
    with connected(url) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        given = {"service": service, "at_ms": at_ms, "pool": pool, "challenger": challenger}
        rows = cursor.execute(queries()["verdict_at"], given).fetchall()
        return [_grounds(cursor, _verdict(row), at_ms) for row in rows]


def _grounds(
    cursor: Cursor, verdict: Verdict, at_ms: int | None, window_ms: int = WINDOW_MS
) -> DecisionGrounds:
    command = {"command_id": verdict.command_id}
    reason = cursor.execute(queries()["reason_of_command"], command).fetchone()
    asked_ms = verdict.at_ms if at_ms is None else at_ms
    place = {"service": verdict.service, "pool": verdict.pool, "at_ms": asked_ms}
    warm = cursor.execute(queries()["warm_at"], place).fetchone()
    realised = cursor.execute(queries()["realised"], command).fetchall()
    recent = {"since_ms": asked_ms - FAILED_MS, "most": MOST_FAILURES}
    failures = cursor.execute(queries()["failures"], {**place, **command, **recent}).fetchall()
    return DecisionGrounds(
        verdict=verdict,
        reason=reason["reason"] if reason else "",
        warm=warm["count"] if warm else 0,
        users=tuple(_users(cursor, verdict, window_ms)),
        realised=tuple(RealisedValue(**row) for row in realised),
        failures=tuple(InstanceFailure(**row) for row in failures),
    )


def _users(cursor: Cursor, verdict: Verdict, window_ms: int) -> Iterable[UserBehind]:
    given = {
        "pool": verdict.pool,
        "at_ms": verdict.at_ms,
        "window_ms": window_ms,
        "services": sorted({expected.service for expected in verdict.expected}),
        "most": MOST_USERS,
    }
    return (UserBehind(**row) for row in cursor.execute(queries()["users_behind"], given))


def _verdict(row: dict[str, Any]) -> Verdict:
    del row["at"]
    expected = zip(
        row.pop("expected_services"),
        row.pop("expected_tiers"),
        row.pop("expected_requests"),
        strict=True,
    )
    others = zip(
        row.pop("alternatives"),
        row.pop("alternative_values"),
        row.pop("alternative_costs"),
        strict=True,
    )
    row["choice"], row["mode"] = Choice(row["choice"]), Mode(row["mode"])
    return Verdict(
        **row,
        expected=tuple(Expected(service=s, tier=t, requests=r) for s, t, r in expected),
        alternatives=tuple(Alternative(what=w, value=v, cost=c) for w, v, c in others),
    )
