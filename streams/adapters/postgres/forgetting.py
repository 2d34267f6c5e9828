"""Deletes what the tables have of a user."""

from __future__ import annotations

from collections.abc import Iterable
from typing import LiteralString

from psycopg.sql import SQL, Composed, Identifier

from streams.adapters.postgres.connection import connected
from streams.adapters.postgres.rows import StoredTable, storable

__all__ = ["delete_user", "rows_of_user"]

USER = "user_id"  # the column
KEY = "key"  # of dead letters: that of the record, in bytes


def rows_of_user(url: str, user: str, tables: Iterable[StoredTable]) -> dict[str, int]:
    """How many rows each table has of a user; changes nothing.

    Raises
    ------
    DatabaseUnreachable, RightsMissing
        No PostgreSQL answers at this URL, or it lacks a table; this role may not read one.
    """
    return _carried_out("SELECT {key} FROM {table} WHERE {theirs}", url, user, tables)


def delete_user(url: str, user: str, tables: Iterable[StoredTable]) -> dict[str, int]:
    """Delete the rows of a user from all tables or none; how many there were.

    Raises
    ------
    DatabaseUnreachable, RightsMissing
        As with `rows_of_user`. Nothing was changed then.
    """
    return _carried_out("DELETE FROM {table} WHERE {theirs} RETURNING {key}", url, user, tables)


def _carried_out(
    statement: LiteralString, url: str, user: str, tables: Iterable[StoredTable]
) -> dict[str, int]:
    values = {"user": storable(user), "key": user.encode()}
    with connected(url) as connection:
        return {
            table.name: connection.execute(_of(table, statement), values).rowcount
            for table in tables
            if {USER, KEY} & {*table.names}
        }


def _of(table: StoredTable, statement: LiteralString) -> Composed:
    theirs = "{} = %(user)s" if USER in table.names else "{} = %(key)s"
    column = Identifier(USER if USER in table.names else KEY)
    return SQL(statement).format(
        table=Identifier(table.name),
        key=SQL(", ").join(map(Identifier, table.key)),
        theirs=SQL(theirs).format(column),
    )
