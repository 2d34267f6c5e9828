"""Request logs in the formats of `formats`, also compressed, from a file or standard input.

Read as a stream in constant memory. A row that cannot be parsed does not end the reading: it is
returned in its place among the requests as a `BadRow`, with its text and the reason.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from io import BufferedReader
from itertools import islice
from pathlib import Path

from streams.adapters.logs.columns import ColumnMapping, guess, or_usual, request_of
from streams.adapters.logs.compression import DAMAGED, opened
from streams.adapters.logs.formats import LogFormat, format_of
from streams.adapters.logs.path_tally import PathTally
from streams.adapters.logs.rows import LineStream, LogRow, RowUnreadable
from streams.adapters.logs.times import NUMBER, is_number, may_be_days
from streams.errors import LogUnreadable
from streams.records import Request
from streams.runtime.clock import wall_ms

__all__ = ["BadRow", "ColumnMapping", "RequestLog", "read_log"]

MOST_SHOWN = 200  # characters of a row in a message


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not a request."""

    line: int  # its first, from 1; its number in what has no lines
    reason: str
    text: str  # unchanged; invalid UTF-8 as surrogate escapes

    @property
    def data(self) -> bytes:
        """The bytes of the row."""
        return self.text.encode("utf-8", "surrogateescape")

    def told(self, place: str) -> str:
        """Where it is, as much of its text as has room, and why it cannot be used.

        Parameters
        ----------
        place
            What `line` counts.
        """
        text = self.text if len(self.text) <= MOST_SHOWN else f"{self.text[:MOST_SHOWN]}…"
        return f"{place} {self.line} ({text}): {self.reason}"


def read_log(
    path: str | Path, mapping: ColumnMapping | None = None, *, limit: int | None = None
) -> Iterator[Request | BadRow]:
    """The requests of a log in order; see `RequestLog`."""
    return iter(RequestLog(path, mapping, limit=limit))


class RequestLog:
    """A request log; iterating over it gives its requests and bad rows.

    Parameters
    ----------
    path
        A file, or "-" for standard input. Compression is recognised by the first bytes.
    mapping
        The format, told by the name or the content unless it is given, and the columns of the
        fields; those left out are the format's own, or found by their usual names.
    limit
        Most rows to read; None for all.
    now_ms
        The time of a request in a log without times.

    Raises
    ------
    LogUnreadable
        While iterating: the file or a column does not exist, the compressed data is damaged, or the
        file is of a form that is not read. At the end: no row could be used.
    """

    def __init__(
        self,
        path: str | Path,
        mapping: ColumnMapping | None = None,
        *,
        limit: int | None = None,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self.mapping = mapping or ColumnMapping()
        self.limit = None if limit is None else min(limit, sys.maxsize)
        self.now_ms = now_ms
        self.position = 0  # bytes read of `size`
        self.place = "line"  # what the places of rows count, once it is read
        self.paths = PathTally()  # of an access log of which no option says what the service is
        self.untimed = 0  # requests that say no time: theirs is `now_ms`
        self.absent: set[str] = set()  # columns that options name and no row had so far

    @property
    def size(self) -> int | None:
        """Size of the file in bytes, compressed; None when it is not known in advance."""
        return self.path.stat().st_size if self.path.is_file() else None

    @property
    def passing(self) -> bool:
        """Whether it is read once only, as standard input, pipes and devices are."""
        return self.name == "-" or self.path.is_fifo() or self.path.is_char_device()

    def __iter__(self) -> Iterator[Request | BadRow]:
        done = 0
        try:
            with self._open() as raw:
                lines = LineStream(opened(raw, self.name))
                form = format_of(self.mapping, self.path, lines)
                self.place = form.place
                reader = _RowReader(self, form)
                for row in islice(form.rows(lines, self.name), self.limit):
                    self.position = raw.tell() if raw.seekable() else 0
                    yield reader.item(row)
                    done += 1
        except DAMAGED as error:
            raise LogUnreadable(
                f"{self.path} is damaged: its compression breaks off after row {done} ({error})"
            ) from error
        except OSError as error:
            raise LogUnreadable(f"{self.path} cannot be read: {error.strerror or error}") from error
        if self.limit != 0:
            reader.must_have_used()

    def _open(self) -> BufferedReader:
        if self.name == "-":
            return open(sys.stdin.fileno(), "rb", closefd=False)
        return self.path.open("rb")


class _RowReader:
    """Makes requests of rows, and remembers whether any could be used."""

    def __init__(self, log: RequestLog, form: LogFormat) -> None:
        self.log, self.form = log, form
        self.mapping = or_usual(log.mapping, form.usual)
        self.tells_services = self.mapping.service_from is not log.mapping.service_from
        self.columns: ColumnMapping | None = None  # of rows that have those of `seen`
        self.seen: Collection[str] = ()
        self.timed = False  # whether a row had a time
        self.used = False
        log.untimed = 0
        self.first = ""  # why the first row could not be used

    def item(self, row: LogRow) -> Request | BadRow:
        """The request of a row, or the row with the reason why it is none."""
        try:
            request = self._request(row)
        except RowUnreadable as error:
            bad = BadRow(row.line, str(error), row.text)
            self._note(bad)
            return bad
        self.used = self.used or bool(request.user and request.service)
        if self.tells_services and isinstance(row.fields, dict):
            self.log.paths.note(row.fields.get(self.mapping.service or "", ""), request.service)
        if not self.used:
            empty = "service" if request.user else "user"
            reason = f"column {getattr(self.columns, empty)!r}, the {empty}, is empty"
            self._note(BadRow(row.line, reason, row.text))
        return request

    def must_have_used(self) -> None:
        """Raise `LogUnreadable` with the first row if no row was of any use."""
        if not self.used:
            what = f"no row that can be used: {self.first}" if self.first else "no row of a request"
            raise LogUnreadable(f"{self.log.path} has {what}")

    def _request(self, row: LogRow) -> Request:
        if isinstance(row.fields, str):
            raise RowUnreadable(row.fields)
        if self.columns is None or row.fields.keys() != self.seen:
            self.columns = self._columns(row, row.fields)
            self.seen = row.fields.keys()
        if not self.timed and self.columns.time and (first := row.fields[self.columns.time]):
            self.columns = self._of_unit(self.columns, row, first)
            self.timed = True
        now_ms = self.log.now_ms()
        request = request_of(
            row.fields, self.columns, source=self.log.name, line=row.line, now_ms=now_ms
        )
        self.log.untimed += not self.columns.time
        return request

    def _columns(self, row: LogRow, fields: dict[str, str]) -> ColumnMapping:
        try:
            columns = guess(self.mapping, fields, whole=self.form.same)
        except RowUnreadable as error:
            if self.columns is None:
                where = f"{self.log.path}, {self.log.place} {row.line}"
                raise LogUnreadable(f"{where}, {error}") from None
            raise
        named = self.mapping.named() if self.columns is None else self.log.absent
        self.log.absent = named - fields.keys()
        if self.timed and not columns.time:
            raise RowUnreadable("time is missing")
        return columns

    def _of_unit(self, columns: ColumnMapping, row: LogRow, first: str) -> ColumnMapping:
        """The columns where this is the first time: if it is a number, so are those that follow."""
        if self.mapping.time_unit != "auto" or not is_number(first):
            return columns
        if may_be_days(first):
            raise LogUnreadable(
                f"{self.log.path}, {self.log.place} {row.line}: time {first[:40]!r} may be days of"
                " a spreadsheet, which are not read, or seconds: write it as ISO 8601, or give"
                " --time-unit s"
            )
        self.mapping = replace(self.mapping, time_unit=NUMBER)
        return replace(columns, time_unit=NUMBER)

    def _note(self, bad: BadRow) -> None:
        self.first = self.first or bad.told(self.log.place)
