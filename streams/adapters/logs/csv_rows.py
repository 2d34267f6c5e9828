"""Rows of CSV with a header.

Memory is bounded: the lines that a quoted field may span.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from streams.adapters.logs.rows import MAX_LINE, LineStream, LogLine, LogRow
from streams.errors import LogUnreadable

__all__ = ["csv_rows"]

MAX_SPAN = 64  # most lines of one CSV row with quoted fields
DELIMITERS = ",;\t|"
SAID = "sep="  # begins a line of Excel's before the header, which says the delimiter


@dataclass(frozen=True, slots=True)
class _Form:
    """How cells are written."""

    delimiter: str
    spaced: bool = False  # a blank follows each delimiter
    width: int | None = None  # cells of a row


def csv_rows(lines: LineStream, name: str) -> Iterator[LogRow]:
    """Rows of CSV with a header; its most frequent of comma, semicolon, tab and bar is the delimiter.

    A quoted field may contain line ends, but an unclosed quote spoils only its own line. Where a
    blank follows each delimiter of the header, blanks there are no part of the cells.

    Raises
    ------
    LogUnreadable
        There is no header, or it has a name twice.
    """
    first, form = _first(lines, name)
    header = _cells([first], form)
    if isinstance(header, str):
        raise LogUnreadable(f"{name}, line {first.number}, is no CSV header: {header}")
    twice = [column for column, n in Counter(header).items() if column and n > 1]
    if twice:
        raise LogUnreadable(f"{name} has two columns {twice[0][:40]!r}: give each its own name")
    form = replace(form, width=len(header))
    for line in lines:
        text, cells = _row_at(line, lines, form)
        fields = cells if isinstance(cells, str) else dict(zip(header, cells, strict=True))
        yield LogRow(line.number, text, fields)


def _first(lines: LineStream, name: str) -> tuple[LogLine, _Form]:
    """The line of the header, and what it says of the form."""
    first, said = next(iter(lines), None), ""
    if first and first.text.lower() in {SAID + delimiter for delimiter in DELIMITERS}:
        said = first.text[-1]
        first = next(iter(lines), None)
    if first is None:
        raise LogUnreadable(f"{name} is empty: a CSV begins with a header line")
    if "\r" in first.text:
        raise LogUnreadable(f"{name} has lines that end in CR alone: make it LF, `tr '\\r' '\\n'`")
    delimiter = said or max(DELIMITERS, key=first.text.count)
    others = first.text.split(delimiter)[1:]
    return first, _Form(delimiter, spaced=bool(others) and all(cell[:1] == " " for cell in others))


def _row_at(line: LogLine, lines: LineStream, form: _Form) -> tuple[str, list[str] | str]:
    alone = _cells([line], form)
    if isinstance(alone, list) or line.text.count('"') % 2 == 0:
        return line.text, alone
    span = [line, *_rest(line, lines)]
    joined = _cells(span, form)
    if isinstance(joined, list):
        return "\n".join(part.text for part in span), joined
    lines.put_back(span[1:])
    return line.text, alone


def _rest(line: LogLine, lines: LineStream) -> list[LogLine]:
    """The lines up to the one that closes the quote, or the most that a row may span."""
    rest: list[LogLine] = []
    size = len(line.text)
    for more in lines.with_blank():
        rest.append(more)
        size += len(more.text)
        if more.text.count('"') % 2 or len(rest) == MAX_SPAN or size > MAX_LINE:
            break
    return rest


def _cells(span: Sequence[LogLine], form: _Form) -> list[str] | str:
    """The cells of the row on these lines, or the reason why they are not one row."""
    faults = [line.fault for line in span if line.fault]
    if faults:
        return faults[0]
    texts = [line.text + "\n" for line in span]
    try:
        rows = _read(texts, form)
    except csv.Error as error:
        if str(error).startswith("new-line character"):
            return "a CR stands within the row: remove it, or put its field in quotes"
        return f"not CSV: {error}"
    if len(rows) != 1:
        return f"not one row but {len(rows)}"
    if form.width is not None and len(rows[0]) != form.width:
        return f"{len(rows[0])} columns where the header has {form.width}"
    return rows[0]


def _read(texts: Sequence[str], form: _Form) -> list[list[str]]:
    def rows(*, strict: bool) -> list[list[str]]:
        reader = csv.reader(
            texts, delimiter=form.delimiter, skipinitialspace=form.spaced, strict=strict
        )
        return list(reader)

    try:
        return rows(strict=True)
    except csv.Error:
        if not form.spaced or "".join(texts).count('"') % 2:  # it may go on in the next line
            raise
    return [[cell.strip() for cell in row] for row in rows(strict=False)]  # blanks follow quotes
