"""Rows into PostgreSQL: a batch is one transaction, and writing it twice changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from streams.adapters.postgres import connect, unreachable
from streams.adapters.postgres_rows import Row, rows_of
from streams.adapters.postgres_tables import TABLES, Table
from streams.records import DeadLetter, Record

__all__ = ["Entry", "PostgresSink", "Received"]

STATEMENT_S = 60.0

# SQLSTATE classes of what is wrong with the data: no retry mends them. All else may pass.
_OF_THE_DATA = ("22", "23", "54")


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A record's bytes, and where they stand."""

    topic: str  # its name on the broker
    partition: int
    offset: int
    at_ms: int  # when the record was produced
    key: bytes | None
    value: bytes | None

    def dead(self, reason: str) -> DeadLetter:
        """What says that the sink could not use it."""
        return DeadLetter(
            topic=self.topic,
            partition=self.partition,
            offset=self.offset,
            stage="sink",
            reason=reason,
            at_ms=self.at_ms,
            key=self.key,
            value=self.value,
        )


class Entry(NamedTuple):
    """A record, and what it was decoded from."""

    record: Record
    received: Received


class PostgresSink:
    """Writes records to their tables.

    Guarantee: of records with one key the first one stays, or of a user's prediction and an
    instance's state the newest one; so at-least-once delivery ends as exactly one row.

    Parameters
    ----------
    url
        Of the database.
    timeout_s
        How long one statement may take; locks are waited for no longer.
    """

    def __init__(self, url: str, timeout_s: float = STATEMENT_S) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def write(self, entries: Sequence[Entry]) -> list[DeadLetter]:
        """Write all entries, but those that cannot be stored: they come back with the reason.

        Raises
        ------
        DatabaseUnreachable
            PostgreSQL is away or does not take anything; nothing, or a part, was written.
            Write the same entries again.
        """
        if not entries:
            return []
        try:
            self._write(_by_table(entries))
        except psycopg.Error as error:
            if not _is_of_the_data(error):
                self.close()
                raise unreachable(error) from error
            if len(entries) == 1:
                return [entries[0].received.dead(f"PostgreSQL cannot hold it: {_said(error)}")]
            # One record's fault must not hold up the others: halve until it stands alone.
            middle = len(entries) // 2
            return self.write(entries[:middle]) + self.write(entries[middle:])
        return []

    def close(self) -> None:
        """End the connection; the next write opens another."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _write(self, rows: Mapping[str, list[Row]]) -> None:
        connection = self._open()
        with connection.transaction(), connection.cursor() as cursor:
            for name in TABLES:
                if name not in rows:
                    continue
                with cursor.copy(_COPY[name]) as copy:
                    for row in rows[name]:
                        copy.write_row(row)
                cursor.execute(_MERGE[name])

    def _open(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = connect(self._url, autocommit=True)
            limit = SQL("SET statement_timeout = {}").format(round(self._timeout_s * 1000))
            self._connection.execute(limit)
            for table in TABLES.values():
                self._connection.execute(_stage(table))
        return self._connection


def _by_table(entries: Iterable[Entry]) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {}
    for entry in entries:
        for table, row in rows_of(entry.record, entry.received.offset):
            rows.setdefault(table, []).append(row)
    return rows


def _is_of_the_data(error: psycopg.Error) -> bool:
    if error.sqlstate is None:
        return isinstance(error, psycopg.DataError)
    return error.sqlstate.startswith(_OF_THE_DATA)


def _said(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error)


# --------------------------------------------------------------------------- statements


def _names(columns: Iterable[str], prefix: str = "") -> Composed:
    parts = [Identifier(prefix, name) if prefix else Identifier(name) for name in columns]
    return SQL(", ").join(parts)


def _batch(table: Table) -> Identifier:
    return Identifier(f"batch_of_{table.name}")


def _stage(table: Table) -> Composed:
    """Where a batch is copied to: a temporary table of this connection."""
    return SQL(
        "CREATE TEMPORARY TABLE {batch} ON COMMIT DELETE ROWS"
        " AS SELECT {columns} FROM {table} WITH NO DATA"
    ).format(batch=_batch(table), columns=_names(table.columns), table=Identifier(table.name))


def _copy(table: Table) -> Composed:
    return SQL("COPY {batch} ({columns}) FROM STDIN").format(
        batch=_batch(table), columns=_names(table.columns)
    )


def _merge(table: Table) -> Composed:
    """Take the batch over into the table."""
    head = SQL("INSERT INTO {table} AS old ({columns})").format(
        table=Identifier(table.name), columns=_names(table.columns)
    )
    return SQL(" ").join([head, *(_newest(table) if table.newest_by else _first(table))])


def _first(table: Table) -> Iterator[Composed]:
    yield SQL("SELECT {columns} FROM {batch}").format(
        columns=_names(table.columns), batch=_batch(table)
    )
    yield SQL("ON CONFLICT ({key}) DO NOTHING").format(key=_names(table.key))


def _newest(table: Table) -> Iterator[Composed]:
    key = _names(table.key)
    order = SQL(", ").join(SQL("{} DESC").format(Identifier(name)) for name in table.newest_by)
    yield SQL("SELECT DISTINCT ON ({key}) {columns} FROM {batch} ORDER BY {key}, {order}").format(
        key=key, columns=_names(table.columns), batch=_batch(table), order=order
    )
    others = [name for name in table.columns if name not in table.key]
    yield SQL(
        "ON CONFLICT ({key}) DO UPDATE SET ({columns}) = ROW ({new})"
        " WHERE ({new_order}) > ({old_order})"
    ).format(
        key=key,
        columns=_names(others),
        new=_names(others, "excluded"),
        new_order=_names(table.newest_by, "excluded"),
        old_order=_names(table.newest_by, "old"),
    )


_COPY = {name: _copy(table) for name, table in TABLES.items()}
_MERGE = {name: _merge(table) for name, table in TABLES.items()}
