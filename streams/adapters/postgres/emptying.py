"""Empties tables, all of them or none; what is in them before, by pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from psycopg.sql import SQL, Composed, Identifier

from streams.adapters.postgres.connection import connected
from streams.adapters.postgres.rows import StoredTable

__all__ = ["empty_tables", "rows_by_pool"]

POOL = "pool"  # the column


def rows_by_pool(url: str, tables: Iterable[StoredTable]) -> dict[str, Counter[str]]:
    """How many rows each table has of each pool; "" where a table does not say.

    Raises
    ------
    DatabaseUnreachable, RightsMissing
        No PostgreSQL answers at this URL, or it lacks a table; this role may not read one.
    """
    with connected(url) as connection:
        return {
            table.name: Counter(dict(connection.execute(_counted(table)).fetchall()))
            for table in tables
        }


def empty_tables(url: str, tables: Sequence[StoredTable]) -> None:
    """Empty tables in one transaction.

    Raises
    ------
    DatabaseUnreachable, RightsMissing
        It is lost meanwhile, or somebody holds a table; this role may not do that. Nothing was
        changed then.
    """
    names = SQL(", ").join(Identifier(table.name) for table in tables)
    with connected(url) as connection:
        connection.execute(SQL("TRUNCATE {}").format(names))


def _counted(table: StoredTable) -> Composed:
    pool = Identifier(POOL) if POOL in table.names else SQL("''")
    return SQL("SELECT {pool}, count(*) FROM {table} GROUP BY 1").format(
        pool=pool, table=Identifier(table.name)
    )
