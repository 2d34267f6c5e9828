"""Queries of the dashboard: read-only sessions with a bound on how long a statement may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from streams.adapters.postgres.connection import named
from streams.adapters.postgres.rows import storable
from streams.adapters.postgres.sql import queries
from streams.errors import DatabaseUnreachable, SettingInvalid

__all__ = ["ReadingDatabase", "Row", "reading_url"]

Row = dict[str, Any]

CONNECTIONS = 4
STATEMENT_MS = 1_000  # most that a statement may take; what is late is shown as not known
PATIENCE_S = 5.0  # for a connection and a statement: a server that hangs gives up nothing
_SESSION = (
    f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_MS}"
    " -c lock_timeout=200 -c jit=off"  # compiling takes longer than any of these queries
)


def reading_url(url: str) -> str:
    """The URL with the options of a session that only reads, and not for long.

    Raises
    ------
    SettingInvalid
        The URL cannot be parsed; it is not shown, since it may have a password.
    """
    try:
        own = conninfo_to_dict(url).get("options") or ""
        return make_conninfo(url, options=f"{own} {_SESSION}".lstrip(), connect_timeout=3)
    except psycopg.ProgrammingError:
        raise SettingInvalid(
            "FOREMESH_POSTGRES cannot be read: expected postgresql://user:password@host/database"
        ) from None


class ReadingDatabase:
    """A few connections that only read; each is opened when it is needed, and again when lost.

    `async with` closes them.

    Parameters
    ----------
    url
        Of the database.
    """

    def __init__(self, url: str) -> None:
        self.url = reading_url(url)
        self._free: asyncio.LifoQueue[psycopg.AsyncConnection[Row] | None] = asyncio.LifoQueue()
        for _ in range(CONNECTIONS):
            self._free.put_nowait(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def rows(self, query: str, **given: Any) -> list[Row]:
        """The rows of a query of `dashboard.sql`.

        Raises
        ------
        DatabaseUnreachable
            No PostgreSQL answers, not in time, or it lacks a table or column.
        """
        values = {name: storable(value) for name, value in given.items()}
        reading = asyncio.create_task(self._read(queries("dashboard.sql")[query], values))
        try:
            done, _ = await asyncio.wait([reading], timeout=PATIENCE_S)
        finally:
            reading.cancel()  # not awaited: the driver asks a server that hangs to end it, for 10 s
        if not done:
            raise DatabaseUnreachable(
                "PostgreSQL does not answer in time: see whether its server hangs or is too busy"
            )
        return reading.result()

    async def _read(self, statement: LiteralString, values: dict[str, Any]) -> list[Row]:
        try:
            async with self._connection() as connection:
                cursor = connection.cursor(binary=True)
                await cursor.execute(statement, values)
                return await cursor.fetchall()
        except psycopg.Error as error:
            raise named(error) from error

    async def close(self) -> None:
        """Close the connections that are open."""
        while not self._free.empty():
            connection = self._free.get_nowait()
            if connection is not None:
                await connection.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Row]]:
        connection = await self._free.get()
        try:
            if connection is None or connection.closed:
                connection = await psycopg.AsyncConnection.connect(
                    self.url, autocommit=True, row_factory=dict_row
                )
            yield connection
        except asyncio.CancelledError:
            if connection is not None:  # it may be in the middle of an answer
                await connection.close()
            raise
        finally:
            self._free.put_nowait(connection)
