"""How a record becomes rows: the columns of a table, each with the value that it gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

__all__ = [
    "OFFSET",
    "Column",
    "RecordRows",
    "RowSource",
    "RowValues",
    "StoredTable",
    "enums_of_record",
    "number_array",
    "of_part",
    "of_record",
    "storable",
    "text_array",
]

NUL, NUL_SHOWN = "\0", "\N{SYMBOL FOR NULL}"  # PostgreSQL has no text with NUL in it

RowValues = tuple[Any, ...]


class RowSource(NamedTuple):
    """What the values of a row are taken from."""

    record: Any
    part: Any  # of the record, in a table with a row per part; else the record itself
    position: int  # of the part, from 1
    offset: int  # of the record on its partition


class Column(NamedTuple):
    """A column to write, and its value: a dotted attribute of a RowSource, or a function of one."""

    name: str
    value: str | Callable[[RowSource], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTable:
    """A table that records of one kind are written to."""

    name: str
    record: type
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    newest_by: tuple[str, ...] = ()  # of rows with one key the highest in these stays, or the first
    parts: Callable[[Any], Sequence[Any]] | None = None  # of a record, a row each; None: one row
    pruned_by: str = ""  # the column with the time, in milliseconds, that tells how old a row is
    pruned_with: str = ""  # else the table whose rows these are parts of
    kept: bool = False  # else never deleted, since they are few and asked for late

    def __post_init__(self) -> None:
        if not (self.pruned_by or self.pruned_with or self.kept):
            raise TypeError(f"{self.name} would grow for ever: say what it is pruned by")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)


class RecordRows:
    """Makes the rows of records of one kind; values that its tables share are computed once.

    Parameters
    ----------
    tables
        All tables of the kind.
    """

    def __init__(self, tables: Iterable[StoredTable]) -> None:
        groups = groupby(tables, key=lambda table: table.parts)
        self._groups = [_TableGroup(parts, tuple(group)) for parts, group in groups]

    def of(self, record: Any, offset: int) -> Iterator[tuple[str, RowValues]]:
        """The rows of a record at `offset` of its partition, each with the name of its table."""
        for group in self._groups:
            yield from group.rows(record, offset)


class _TableGroup:
    """Tables whose rows come from the same parts of a record."""

    def __init__(
        self, parts: Callable[[Any], Sequence[Any]] | None, tables: Sequence[StoredTable]
    ) -> None:
        self._parts = parts
        columns = list(dict.fromkeys(column for table in tables for column in table.columns))
        columns.sort(key=lambda column: callable(column.value))
        paths = [column.value for column in columns if isinstance(column.value, str)]
        # One call for all: a third of the time of one each. Of a single path it gives no tuple.
        self._attributes = attrgetter("offset", "position", *paths)
        self._functions = [column.value for column in columns if callable(column.value)]
        self._tables = [(t.name, [2 + columns.index(one) for one in t.columns]) for t in tables]

    def rows(self, record: Any, offset: int) -> Iterator[tuple[str, RowValues]]:
        parts = (record,) if self._parts is None else self._parts(record)
        for position, part in enumerate(parts, start=1):
            source = RowSource(record, part, position, offset)
            values = [*self._attributes(source), *[value(source) for value in self._functions]]
            values = [storable(value) if type(value) is str else value for value in values]
            for name, places in self._tables:
                yield name, tuple([values[place] for place in places])


def storable(value: Any) -> Any:
    """A value as PostgreSQL can hold it: text without NUL."""
    return value.replace(NUL, NUL_SHOWN) if type(value) is str and NUL in value else value


def of_record(names: str) -> Iterator[Column]:
    """Columns with the names and values of these attributes of the record."""
    return (Column(name, f"record.{name}") for name in names.split())


def enums_of_record(names: str) -> Iterator[Column]:
    """The same of attributes that are members of an enum."""
    return (Column(name, f"record.{name}.value") for name in names.split())


def of_part(names: str) -> Iterator[Column]:
    """Columns with the names and values of these attributes of the part."""
    return (Column(name, f"part.{name}") for name in names.split())


OFFSET = Column("kafka_offset", "offset")


def number_array(name: str, items: str, attribute: str) -> Column:
    """An array of an attribute of the record's items.

    As PostgreSQL reads it: the driver's own conversion takes ten times as long.
    """
    get_items, get = attrgetter(f"record.{items}"), attrgetter(attribute)
    return Column(name, lambda row: "{" + str(list(map(get, get_items(row))))[1:-1] + "}")


def text_array(name: str, items: str, attribute: str) -> Column:
    """The same of an attribute that is text."""
    get_items, get = attrgetter(f"record.{items}"), attrgetter(attribute)
    return Column(name, lambda row: _quoted(list(map(get, get_items(row)))))


def _quoted(values: list[str]) -> str:
    quoted = [value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
    return '{"' + '","'.join(quoted) + '"}' if quoted else "{}"
