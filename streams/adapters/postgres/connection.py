"""Connections to PostgreSQL, and the driver's errors as those of this project."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.sql import SQL

from streams.errors import (
    DatabaseBusy,
    DatabaseOutdated,
    DatabaseUnreachable,
    ForemeshError,
    RightsMissing,
    SettingInvalid,
)

__all__ = ["connect", "connected", "named"]

_TAKEN = (
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateObject,
    psycopg.errors.DuplicateFunction,
)
_NAMED = (
    *_TAKEN,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.ReadOnlySqlTransaction,
)

_AWAY = ("08", "57P")  # SQLSTATE of connections that are lost, and of a server that ends

LOCK_MS = 30_000  # a query of somebody else may hold a table so long

# A server that disappears without closing its connections is noticed within half a minute.
_DEADLINES: Mapping[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def connect(url: str, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection with timeouts, so that nothing waits for a dead server.

    Raises
    ------
    DatabaseUnreachable
        No server answers, or it refuses the credentials; the message says which.
    SettingInvalid
        The URL cannot be parsed.
    """
    try:
        return psycopg.connect(url, **_DEADLINES, **options)
    except psycopg.OperationalError as error:
        raise named(error) from error
    except psycopg.ProgrammingError:
        # The driver's message contains the URL, and with it the password.
        raise SettingInvalid(
            "FOREMESH_POSTGRES cannot be read: expected postgresql://user:password@host/database"
        ) from None


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection for one transaction: committed at the end, rolled back on an error.

    Raises
    ------
    DatabaseUnreachable
        The server cannot be reached, is lost meanwhile or too busy; a table or column is missing, or
        somebody holds a lock on it.
    RightsMissing
        The role may not do that.
    """
    try:
        with connect(url) as connection:
            connection.execute(SQL("SET LOCAL lock_timeout = {}").format(LOCK_MS))
            yield connection
    except (psycopg.OperationalError, *_NAMED) as error:
        raise named(error) from error


def named(error: psycopg.Error) -> ForemeshError:
    """The driver's error as what it is, with its fix, and the driver's message in one line."""
    message = " ".join(str(error).split()) or type(error).__name__
    match error:
        case psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedColumn():
            return DatabaseOutdated.because(message)
        case psycopg.errors.LockNotAvailable():
            return DatabaseBusy(
                f"Somebody holds a lock on a table for too long: see pg_locks for who ({message})"
            )
        case psycopg.errors.QueryCanceled():
            return DatabaseBusy.because(message)
        case psycopg.errors.InsufficientPrivilege():
            return RightsMissing(
                "This role may not do that in PostgreSQL: give it the rights of"
                f" `foremesh acl postgres` ({message})"
            )
    return DatabaseUnreachable(f"{_of_no_use(error)} ({message})")


def _of_no_use(error: psycopg.Error) -> str:
    """Why a database cannot be used, and what to do."""
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return (
            "PostgreSQL only reads: set FOREMESH_POSTGRES to the server that writes, or wait until"
            " it does"
        )
    if isinstance(error, _TAKEN):
        return (
            "The database has something of such a name that no migration made, as of another program:"
            " set FOREMESH_POSTGRES to a database of its own"
        )
    if error.sqlstate and not error.sqlstate.startswith(_AWAY):
        return "PostgreSQL answers, and refuses what it is asked: its message and its log say why"
    if "FATAL:" in str(error):  # how a server, in English, says why it takes no connection
        return (
            "PostgreSQL answers, and refuses the connection: set FOREMESH_POSTGRES to a database, a"
            " role and a password that it takes, or wait until it takes connections"
        )
    return DatabaseUnreachable.__doc__ or ""
