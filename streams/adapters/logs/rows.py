"""Lines of a request log, and what is read from them, or from other parts of it: rows.

Memory is bounded: the length of a line, and the lines that are put back.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streams.adapters.logs.compression import LogStream

__all__ = ["MAX_LINE", "LineStream", "LogLine", "LogRow", "RowUnreadable"]

MAX_LINE = 1024 * 1024  # bytes; a longer line is one bad row


class RowUnreadable(ValueError):
    """A row that is not a request; the message is the reason."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A physical line without its end; a fault is the reason why it cannot be part of a row."""

    number: int  # from 1
    text: str  # invalid UTF-8 as surrogate escapes
    fault: str = ""


@dataclass(frozen=True, slots=True)
class LogRow:
    """A row: its place, and its fields by column, or the reason why it has none."""

    line: int  # its first, from 1; its number in what has no lines
    text: str
    fields: dict[str, str] | str


class LineStream:
    """The lines of a stream that are not blank; those last read can be put back."""

    def __init__(self, stream: LogStream) -> None:
        self.stream = stream  # for what has no lines
        self._number = 0
        self._back: deque[LogLine] = deque()

    def __iter__(self) -> Iterator[LogLine]:
        return (line for line in self.with_blank() if line.text.strip())

    def with_blank(self) -> Iterator[LogLine]:
        """The same, and those that are blank."""
        while line := self._back.popleft() if self._back else self._read():
            yield line

    def put_back(self, lines: Sequence[LogLine]) -> None:
        """Put lines back, to be read again in this order."""
        self._back.extendleft(reversed(lines))

    def _read(self) -> LogLine | None:
        data = self.stream.readline(MAX_LINE)
        if not data:
            return None
        self._number += 1
        fault = ""
        if len(data) == MAX_LINE and not data.endswith(b"\n"):
            fault = f"longer than {MAX_LINE} bytes"
            while (rest := self.stream.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                pass
        if self._number == 1:
            data = data.removeprefix(codecs.BOM_UTF8)
        data = data.rstrip(b"\r\n")
        try:
            return LogLine(self._number, data.decode(), fault)
        except UnicodeDecodeError:
            text = data.decode("utf-8", "surrogateescape")
            return LogLine(self._number, text, fault or "not valid UTF-8")
