"""A table for people that stays readable at 80 columns and in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["NAME", "NUMBER", "WHOLE", "ColumnKind", "TextTable", "counted", "set_apart"]


class ColumnKind(Enum):
    """What a column holds, and so what becomes of it where there is little room."""

    NAME = "wraps between words; a word without room ends in …"
    WHOLE = "never cut nor wrapped: a time, an id"
    NUMBER = "the same, aligned to the right, with its unit in the head"


NAME, WHOLE, NUMBER = ColumnKind


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """A table as a value: its title, its cells, and the sentence below that says what they mean."""

    columns: Mapping[str, ColumnKind]  # by head
    rows: Sequence[Sequence[str]]
    legend: str  # a legend or a conclusion; may be empty where one follows for several tables
    title: str = ""
    empty: str = field(default="None.")  # said in place of a table without rows

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Its title, the table and its legend, each on lines of its own."""
        del console, options
        if self.title:
            yield Text(self.title, "bold")
        if not self.rows:
            yield Text(self.empty)
            return
        yield self._drawn()
        if self.legend:
            yield Text(self.legend)

    def _drawn(self) -> Table:
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for i, (head, kind) in enumerate(self.columns.items()):
            table.add_column(
                Text(head),
                justify="right" if kind is NUMBER else "left",
                no_wrap=kind is not NAME,
                min_width=None if kind is NAME else _width(head, (row[i] for row in self.rows)),
                overflow="ellipsis",
            )
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table


def counted(count: int, noun: str) -> str:
    """A number of things whose plural ends in s."""
    return f"{count:,} {noun if count == 1 else f'{noun}s'}"


def set_apart(parts: Iterable[RenderableType]) -> Iterator[RenderableType]:
    """The same parts, with an empty line between a table and what follows it."""
    after_table = False
    for part in parts:
        if after_table:
            yield ""
        yield part
        after_table = isinstance(part, TextTable)


def _width(head: str, cells: Iterable[str]) -> int:
    return max(map(cell_len, [head, *cells]))
