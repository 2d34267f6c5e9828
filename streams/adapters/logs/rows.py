"""Lines of a request log, and the rows that CSV or JSON lines make of them.

Everything is bounded: a line, the lines that a quoted field may span, the lines put back.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from streams.errors import LogUnreadable

__all__ = ["Line", "Lines", "Row", "csv_rows", "json_rows"]

MAX_LINE = 1024 * 1024  # bytes; a longer line is one bad row
MAX_SPAN = 64  # lines that the quoted fields of one CSV row may go over
DELIMITERS = ",;\t"


class Readable(Protocol):
    """Bytes that come by the line."""

    def readline(self, size: int, /) -> bytes:
        """At most `size` bytes, up to the next line end; none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """A physical line without its end; a fault says why it cannot be a row, or part of one."""

    number: int  # from 1
    text: str  # bytes that are not UTF-8 as lone surrogates
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row where it starts: its fields by column, or the reason why there are none."""

    line: int
    text: str
    fields: dict[str, str] | str


class Lines:
    """The lines of a stream; the last ones taken can be put back."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._number = 0
        self._back: deque[Line] = deque()

    def __iter__(self) -> Iterator[Line]:
        while True:
            line = self._back.popleft() if self._back else self._read()
            if line is None:
                return
            if line.text.strip():
                yield line

    def put_back(self, lines: Sequence[Line]) -> None:
        """Take `lines` back, to be read again in this order."""
        self._back.extendleft(reversed(lines))

    def _read(self) -> Line | None:
        data = self._stream.readline(MAX_LINE)
        if not data:
            return None
        self._number += 1
        fault = ""
        if len(data) == MAX_LINE and not data.endswith(b"\n"):
            fault = f"longer than {MAX_LINE} bytes"
            while (rest := self._stream.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                pass
        if self._number == 1:
            data = data.removeprefix(codecs.BOM_UTF8)
        data = data.rstrip(b"\r\n")
        try:
            return Line(self._number, data.decode(), fault)
        except UnicodeDecodeError:
            text = data.decode("utf-8", "surrogateescape")
            return Line(self._number, text, fault or "not valid UTF-8")


def json_rows(lines: Lines) -> Iterator[Row]:
    """One JSON object a line; values become text, nested ones as JSON, null as empty."""
    for line in lines:
        yield Row(line.number, line.text, line.fault or _fields(line.text))


def _fields(text: str) -> dict[str, str] | str:
    try:
        value = json.loads(text)
    except RecursionError:
        return "nested too deep"
    except ValueError as error:
        return f"not JSON: {error}"
    if not isinstance(value, dict):
        return "not a JSON object"
    return {name: _text(item) for name, item in value.items()}


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def csv_rows(lines: Lines, name: str) -> Iterator[Row]:
    """CSV with a header, separated by what the header has most of: comma, semicolon or tab.

    A quoted field may hold line ends, but a quote that is never closed costs its own line only.

    Raises
    ------
    LogUnreadable
        There is no header.
    """
    first = next(iter(lines), None)
    if first is None:
        raise LogUnreadable(f"{name} is empty: a CSV begins with a header line")
    delimiter = max(DELIMITERS, key=first.text.count)
    header = _cells([first], delimiter)
    if isinstance(header, str):
        raise LogUnreadable(f"{name}, line {first.number}, is no CSV header: {header}")
    for line in lines:
        text, cells = _row_at(line, lines, delimiter, len(header))
        fields = cells if isinstance(cells, str) else dict(zip(header, cells, strict=True))
        yield Row(line.number, text, fields)


def _row_at(line: Line, lines: Lines, delimiter: str, width: int) -> tuple[str, list[str] | str]:
    alone = _cells([line], delimiter, width)
    if isinstance(alone, list) or line.text.count('"') % 2 == 0:
        return line.text, alone
    span = [line, *_rest(line, lines)]
    joined = _cells(span, delimiter, width)
    if isinstance(joined, list):
        return "\n".join(part.text for part in span), joined
    lines.put_back(span[1:])
    return line.text, alone


def _rest(line: Line, lines: Lines) -> list[Line]:
    """The lines up to the one that closes the quote, or as many as one row may have."""
    rest: list[Line] = []
    size = len(line.text)
    for more in lines:
        rest.append(more)
        size += len(more.text)
        if more.text.count('"') % 2 or len(rest) == MAX_SPAN or size > MAX_LINE:
            break
    return rest


def _cells(span: Sequence[Line], delimiter: str, width: int | None = None) -> list[str] | str:
    """The cells of the one row that these lines are, or why they are not."""
    faults = [line.fault for line in span if line.fault]
    if faults:
        return faults[0]
    texts = [line.text + "\n" for line in span]
    try:
        rows = list(csv.reader(texts, delimiter=delimiter, strict=True))
    except csv.Error as error:
        return f"not CSV: {error}"
    if len(rows) != 1:
        return f"not one row but {len(rows)}"
    if width is not None and len(rows[0]) != width:
        return f"{len(rows[0])} columns where the header has {width}"
    return rows[0]
