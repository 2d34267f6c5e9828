"""Lines of a request log, and their rows, from CSV or JSON lines.

Memory is bounded: the length of a line, the lines that a quoted field may span, those put back.
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

__all__ = ["LineStream", "LogLine", "LogRow", "csv_rows", "json_rows"]

MAX_LINE = 1024 * 1024  # bytes; a longer line is one bad row
MAX_SPAN = 64  # most lines of one CSV row with quoted fields
DELIMITERS = ",;\t|"


class ByteLineSource(Protocol):
    """A stream of bytes that is read by the line."""

    def readline(self, size: int, /) -> bytes:
        """At most `size` bytes, up to the next line end; none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class LogLine:
    """A physical line without its end; a fault is the reason why it cannot be part of a row."""

    number: int  # from 1
    text: str  # invalid UTF-8 as surrogate escapes
    fault: str = ""


@dataclass(frozen=True, slots=True)
class LogRow:
    """A row: its first line, and its fields by column, or the reason why it has none."""

    line: int
    text: str
    fields: dict[str, str] | str


class LineStream:
    """The lines of a stream; those last read can be put back."""

    def __init__(self, stream: ByteLineSource) -> None:
        self._stream = stream
        self._number = 0
        self._back: deque[LogLine] = deque()

    def __iter__(self) -> Iterator[LogLine]:
        while True:
            line = self._back.popleft() if self._back else self._read()
            if line is None:
                return
            if line.text.strip():
                yield line

    def put_back(self, lines: Sequence[LogLine]) -> None:
        """Put lines back, to be read again in this order."""
        self._back.extendleft(reversed(lines))

    def _read(self) -> LogLine | None:
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
            return LogLine(self._number, data.decode(), fault)
        except UnicodeDecodeError:
            text = data.decode("utf-8", "surrogateescape")
            return LogLine(self._number, text, fault or "not valid UTF-8")


def json_rows(lines: LineStream) -> Iterator[LogRow]:
    """Rows of JSON lines; values become text: nested ones JSON, null the empty string."""
    for line in lines:
        yield LogRow(line.number, line.text, line.fault or _fields(line.text))


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


def csv_rows(lines: LineStream, name: str) -> Iterator[LogRow]:
    """Rows of CSV with a header; its most frequent of comma, semicolon, tab and bar is the delimiter.

    A quoted field may contain line ends, but an unclosed quote spoils only its own line.

    Raises
    ------
    LogUnreadable
        There is no header.
    """
    first = next(iter(lines), None)
    if first is None:
        raise LogUnreadable(f"{name} is empty: a CSV begins with a header line")
    if "\r" in first.text:
        raise LogUnreadable(f"{name} has lines that end in CR alone: make it LF, `tr '\\r' '\\n'`")
    delimiter = max(DELIMITERS, key=first.text.count)
    header = _cells([first], delimiter)
    if isinstance(header, str):
        raise LogUnreadable(f"{name}, line {first.number}, is no CSV header: {header}")
    for line in lines:
        text, cells = _row_at(line, lines, delimiter, len(header))
        fields = cells if isinstance(cells, str) else dict(zip(header, cells, strict=True))
        yield LogRow(line.number, text, fields)


def _row_at(
    line: LogLine, lines: LineStream, delimiter: str, width: int
) -> tuple[str, list[str] | str]:
    alone = _cells([line], delimiter, width)
    if isinstance(alone, list) or line.text.count('"') % 2 == 0:
        return line.text, alone
    span = [line, *_rest(line, lines)]
    joined = _cells(span, delimiter, width)
    if isinstance(joined, list):
        return "\n".join(part.text for part in span), joined
    lines.put_back(span[1:])
    return line.text, alone


def _rest(line: LogLine, lines: LineStream) -> list[LogLine]:
    """The lines up to the one that closes the quote, or the most that a row may span."""
    rest: list[LogLine] = []
    size = len(line.text)
    for more in lines:
        rest.append(more)
        size += len(more.text)
        if more.text.count('"') % 2 or len(rest) == MAX_SPAN or size > MAX_LINE:
            break
    return rest


def _cells(span: Sequence[LogLine], delimiter: str, width: int | None = None) -> list[str] | str:
    """The cells of the row on these lines, or the reason why they are not one row."""
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
