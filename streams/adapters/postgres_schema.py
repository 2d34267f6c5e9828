"""The database's upkeep: numbered migrations, applied on request and never at run time; pruning."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg

from streams.adapters.postgres import connected
from streams.adapters.sql import migrations, queries

__all__ = ["migrate", "pending", "prune"]

_log = logging.getLogger(__name__)

Connection = psycopg.Connection[tuple[Any, ...]]


def migrate(url: str) -> list[str]:
    """Apply what is pending, all or nothing; the names of what was applied.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers at this URL.
    """
    with connected(url) as connection:
        connection.execute(queries()["lock_migrations"])
        connection.execute(queries()["create_migrations_table"])
        applied = []
        for name, text in _missing(connection):
            connection.execute(text)
            connection.execute(queries()["record_migration"], {"name": name})
            _log.info("applied migration %s", name, extra={"action": "migration_applied"})
            applied.append(name)
        return applied


def pending(url: str) -> list[str]:
    """The migrations that this database lacks; changes nothing.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers at this URL.
    """
    with connected(url) as connection:
        found = connection.execute(queries()["has_migrations_table"]).fetchone()
        if found != (True,):
            return list(migrations())
        return [name for name, _ in _missing(connection)]


def prune(url: str, keep_ms: int) -> dict[str, int]:
    """Delete what is older than `keep_ms` before the newest prediction; rows deleted, by table.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers at this URL, or it has no tables.
    """
    with connected(url) as connection:
        return dict(connection.execute(queries()["prune"], {"keep_ms": keep_ms}).fetchall())


def _missing(connection: Connection) -> Iterator[tuple[str, LiteralString]]:
    applied = {name for (name,) in connection.execute(queries()["applied_migrations"])}
    return ((name, text) for name, text in migrations().items() if name not in applied)
