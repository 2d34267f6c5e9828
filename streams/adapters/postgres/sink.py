"""Records into PostgreSQL: a batch is a transaction or a few, and writing it twice changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from streams.adapters.postgres.connection import connect, named
from streams.adapters.postgres.rows import RecordRows, RowValues, StoredTable
from streams.adapters.postgres.tables import STORED_TABLES
from streams.errors import ForemeshError
from streams.flow.declaration import SINK
from streams.records import DeadLetter, Record

__all__ = ["PostgresSink", "ReceivedRecord", "SinkEntry"]

STATEMENT_S = 60.0
ALL = sys.maxsize

# SQLSTATE classes of errors in the data, which no retry mends; all others may pass.
_OF_THE_DATA = ("22", "23", "54")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedRecord:
    """A record's bytes, and its place on Kafka."""

    topic: str  # without the prefix
    partition: int
    offset: int
    at_ms: int  # timestamp of the record
    key: bytes | None
    value: bytes | None

    def dead(self, reason: str) -> DeadLetter:
        """The dead letter of a record that the sink could not use."""
        return DeadLetter.of(
            self.key,
            self.value,
            topic=self.topic,
            partition=self.partition,
            offset=self.offset,
            stage=SINK,
            reason=reason,
            at_ms=self.at_ms,
        )


class SinkEntry(NamedTuple):
    """A record, and what it was decoded from."""

    record: Record
    received: ReceivedRecord


class PostgresSink:
    """Writes records to their tables.

    Guarantee: of rows with one key the first stays, or the newest where the table says by what
    (a user's prediction, an instance's state, the scores of a trial); so at-least-once delivery
    ends as exactly one row.

    Parameters
    ----------
    url
        Of the database.
    timeout_s
        Of a statement; the wait for a lock may take half of it.
    tables
        The tables of the records that may be written, in the order to write them.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float = STATEMENT_S,
        tables: Iterable[StoredTable] = STORED_TABLES,
    ) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._tables = tuple(tables)
        self._rows = {
            kind: RecordRows(table for table in self._tables if table.record is kind)
            for kind in {table.record for table in self._tables}
        }
        self._most = ALL  # entries of a transaction
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def write(self, entries: Sequence[SinkEntry]) -> list[DeadLetter]:
        """Write the entries; those that cannot be stored come back as dead letters.

        After a statement that took too long, half as many are written at a time, down to one; after
        a success twice as many.

        Raises
        ------
        DatabaseUnreachable, RightsMissing
            PostgreSQL is away, busy or refuses everything; none or a part of the entries was
            written. Write the same entries again.
        """
        letters: list[DeadLetter] = []
        while entries:
            some, entries = entries[: self._most], entries[self._most :]
            letters += self._write_some(some)
        self._most = min(2 * self._most, ALL)
        return letters

    def close(self) -> None:
        """Close the connection; the next write opens another."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _write_some(self, entries: Sequence[SinkEntry]) -> list[DeadLetter]:
        try:
            self._write(self._by_table(entries))
        except ForemeshError:
            raise
        except Exception as error:  # whatever a record makes fail becomes a record
            if isinstance(error, psycopg.Error) and not _is_of_the_data(error):
                self.close()
                if isinstance(error, psycopg.errors.QueryCanceled):  # not of a lock
                    self._most = max(1, len(entries) // 2)
                raise named(error) from error
            if len(entries) == 1:
                reason = f"PostgreSQL cannot store it: {_message(error)}"
                return [entries[0].received.dead(reason)]
            # One bad record must not hold up the others: bisect until it is alone.
            middle = len(entries) // 2
            return self._write_some(entries[:middle]) + self._write_some(entries[middle:])
        return []

    def _by_table(self, entries: Iterable[SinkEntry]) -> dict[str, list[RowValues]]:
        rows: dict[str, list[RowValues]] = {}
        for entry in entries:
            made = self._rows[type(entry.record)].of(entry.record, entry.received.offset)
            for table, row in made:
                rows.setdefault(table, []).append(row)
        return rows

    def _write(self, rows: Mapping[str, list[RowValues]]) -> None:
        connection = self._open()
        with connection.transaction(), connection.cursor() as cursor:
            for table in self._tables:
                if table.name not in rows:
                    continue
                with cursor.copy(_copy(table)) as copy:
                    for row in rows[table.name]:
                        copy.write_row(row)
                cursor.execute(_merge(table))

    def _open(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = connect(self._url, autocommit=True)
            # A lock is given up earlier, so that it can be told from a slow statement.
            for name, share in (("statement_timeout", 1.0), ("lock_timeout", 0.5)):
                limit = round(share * self._timeout_s * 1000)
                self._connection.execute(SQL("SET {} = {}").format(Identifier(name), limit))
            for table in self._tables:
                self._connection.execute(_stage(table))
        return self._connection


def _is_of_the_data(error: psycopg.Error) -> bool:
    if error.sqlstate is None:
        return isinstance(error, psycopg.DataError)
    return error.sqlstate.startswith(_OF_THE_DATA)


def _message(error: Exception) -> str:
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return primary or str(error)


# --------------------------------------------------------------------------- statements


def _names(columns: Iterable[str], prefix: str = "") -> Composed:
    parts = [Identifier(prefix, name) if prefix else Identifier(name) for name in columns]
    return SQL(", ").join(parts)


def _batch(table: StoredTable) -> Identifier:
    return Identifier(f"batch_of_{table.name}")


def _stage(table: StoredTable) -> Composed:
    """Creates the temporary table, of this connection, that a batch is copied to."""
    return SQL(
        "CREATE TEMPORARY TABLE {batch} ON COMMIT DELETE ROWS"
        " AS SELECT {columns} FROM {table} WITH NO DATA"
    ).format(batch=_batch(table), columns=_names(table.names), table=Identifier(table.name))


@cache
def _copy(table: StoredTable) -> Composed:
    return SQL("COPY {batch} ({columns}) FROM STDIN").format(
        batch=_batch(table), columns=_names(table.names)
    )


@cache
def _merge(table: StoredTable) -> Composed:
    """Moves a batch from its temporary table into the table."""
    head = SQL("INSERT INTO {table} AS old ({columns})").format(
        table=Identifier(table.name), columns=_names(table.names)
    )
    return SQL(" ").join([head, *(_newest(table) if table.newest_by else _first(table))])


def _first(table: StoredTable) -> Iterator[Composed]:
    yield SQL("SELECT {columns} FROM {batch}").format(
        columns=_names(table.names), batch=_batch(table)
    )
    yield SQL("ON CONFLICT ({key}) DO NOTHING").format(key=_names(table.key))


def _newest(table: StoredTable) -> Iterator[Composed]:
    key = _names(table.key)
    order = SQL(", ").join(SQL("{} DESC").format(Identifier(name)) for name in table.newest_by)
    yield SQL("SELECT DISTINCT ON ({key}) {columns} FROM {batch} ORDER BY {key}, {order}").format(
        key=key, columns=_names(table.names), batch=_batch(table), order=order
    )
    others = [name for name in table.names if name not in table.key]
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
