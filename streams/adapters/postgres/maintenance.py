"""Maintenance of the database on request, never at run time: numbered migrations, pruning."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, LiteralString

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from streams.adapters.postgres.connection import connected
from streams.adapters.postgres.rows import StoredTable
from streams.adapters.postgres.sql import migrations, queries
from streams.adapters.postgres.tables import STORED_TABLES
from streams.errors import DatabaseOutdated

__all__ = ["check_schema", "migrate", "missing_columns", "newer", "pending", "prune"]

_log = logging.getLogger(__name__)

Connection = psycopg.Connection[tuple[Any, ...]]


def migrate(url: str, known: Mapping[str, LiteralString] | None = None) -> list[str]:
    """Apply the pending migrations, all or none of them; the names of those applied.

    Parameters
    ----------
    url
        Of the database.
    known
        Migrations by name, in order; the installed ones by default.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers at this URL.
    """
    with connected(url) as connection:
        connection.execute(queries()["lock_migrations"])
        connection.execute(queries()["create_migrations_table"])
        before = _applied(connection)
        every = migrations() if known is None else known
        missing = {name: text for name, text in every.items() if name not in before}
        for name, text in missing.items():
            connection.execute(text)
            connection.execute(queries()["record_migration"], {"name": name})
            _log.info("applied migration %s", name, extra={"action": "migration_applied"})
        return list(missing)


def check_schema(url: str) -> None:
    """Refuse a database that lacks migrations.

    Raises
    ------
    DatabaseOutdated, DatabaseUnreachable
        It lacks some; no PostgreSQL answers at this URL.
    """
    if missing := pending(url):
        raise DatabaseOutdated(
            f"The database lacks {', '.join(missing)}: run `foremesh db migrate`"
        )


def pending(url: str) -> list[str]:
    """The migrations that this database lacks; changes nothing.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers at this URL.
    """
    with connected(url) as connection:
        applied = _applied(connection)
    return [name for name in migrations() if name not in applied]


def newer(url: str) -> list[str]:
    """The migrations that a later release has applied, unknown to this one; changes nothing.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers at this URL.
    """
    with connected(url) as connection:
        return sorted(_applied(connection) - migrations().keys())


def missing_columns(url: str, tables: Iterable[StoredTable] = STORED_TABLES) -> list[str]:
    """The columns that the sink writes and this database lacks, as table.column; changes nothing.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers at this URL.
    """
    with connected(url) as connection:
        there = set(connection.execute(queries()["columns"]).fetchall())
    return [
        f"{table.name}.{name}"
        for table in tables
        for name in table.names
        if (table.name, name) not in there
    ]


def prune(
    url: str,
    keep_ms: int,
    tables: Iterable[StoredTable] = STORED_TABLES,
    *,
    dry_run: bool = False,
) -> dict[str, int]:
    """Delete what is older than `keep_ms` before the newest prediction; rows deleted, by table.

    Tables that are kept are left out. A dry run takes back what it did.

    Raises
    ------
    DatabaseUnreachable
        No PostgreSQL answers at this URL, or it lacks a table, or somebody holds a lock on one.
    """
    with connected(url) as connection:
        pruning = _pruning(tuple(table for table in tables if not table.kept))
        deleted = dict(connection.execute(pruning, {"keep_ms": keep_ms}).fetchall())
        if dry_run:
            connection.rollback()
        return deleted


def _applied(connection: Connection) -> set[str]:
    """The migrations that were applied: none where nobody has migrated."""
    if connection.execute(queries()["has_migrations_table"]).fetchone() != (True,):
        return set()
    return {name for (name,) in connection.execute(queries()["applied_migrations"])}


# --------------------------------------------------------------------------- pruning

# A clock far ahead of the server's deletes no more than a correct one.
_PAST = SQL("""\
WITH past AS (
    SELECT least(max(made_ms), extract(epoch FROM now()) * 1000)::bigint - %(keep_ms)s::bigint AS ms
    FROM predictions
)""")


def _pruning(tables: tuple[StoredTable, ...]) -> Composed:
    """One statement that deletes from every table and counts the rows deleted."""
    by_name = {table.name: table for table in tables}
    deletions = [_deletion(table, by_name.get(table.pruned_with)) for table in tables]
    counts = [
        SQL("SELECT {name}, count(*) FROM {deleted}").format(
            name=table.name, deleted=_deleted(table)
        )
        for table in tables
    ]
    return SQL("{with_deletions} {counts}").format(
        with_deletions=SQL(", ").join([_PAST, *deletions]), counts=SQL(" UNION ALL ").join(counts)
    )


def _deletion(table: StoredTable, owner: StoredTable | None) -> Composed:
    return SQL(
        "{deleted} AS (DELETE FROM {table} USING {using} WHERE {old} RETURNING {key})"
    ).format(
        deleted=_deleted(table),
        table=Identifier(table.name),
        using=SQL("past") if owner is None else _deleted(owner),
        old=_is_old(table) if owner is None else _belongs(table, owner),
        key=SQL(", ").join(Identifier(table.name, name) for name in table.key),
    )


def _is_old(table: StoredTable) -> Composed:
    return SQL("{} < past.ms").format(Identifier(table.name, table.pruned_by))


def _belongs(table: StoredTable, owner: StoredTable) -> Composed:
    return SQL(" AND ").join(
        SQL("{} = {}").format(Identifier(table.name, name), Identifier(f"in_{owner.name}", name))
        for name in owner.key
    )


def _deleted(table: StoredTable) -> Identifier:
    return Identifier(f"in_{table.name}")
