"""Request logs: CSV or JSON lines, plain or gzipped, from a file or standard input.

Read as a stream in constant memory. A row that cannot be parsed does not end the reading: it is
returned in its place among the requests as a `BadRow`, with its text and the reason.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from io import BufferedReader
from itertools import islice
from pathlib import Path

from streams.adapters.logs.columns import ColumnMapping, RowUnreadable, guess, request_of
from streams.adapters.logs.forms import opened, refuse_array
from streams.adapters.logs.rows import LineStream, csv_rows, json_rows
from streams.errors import LogUnreadable
from streams.records import Request
from streams.runtime.clock import wall_ms

__all__ = ["BadRow", "ColumnMapping", "RequestLog", "read_log"]

JSON_SUFFIXES = {".jsonl", ".ndjson", ".json"}
CSV_SUFFIXES = {".csv", ".tsv"}


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not a request."""

    line: int  # its first, from 1
    reason: str
    text: str  # unchanged; invalid UTF-8 as surrogate escapes

    @property
    def data(self) -> bytes:
        """The bytes of the row."""
        return self.text.encode("utf-8", "surrogateescape")


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
        A file, or "-" for standard input. Compression is recognised by the first bytes, the format
        by the name, or else by the first character.
    mapping
        The columns of the fields; those left out are found by their usual names.
    limit
        Most rows to read; None for all.
    now_ms
        The time of a request in a log without times.

    Raises
    ------
    LogUnreadable
        While iterating: the file or a column does not exist, the compressed data is damaged, or the
        file is of a form that is not read.
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
        self.limit = limit
        self.now_ms = now_ms
        self.position = 0  # bytes read of `size`

    @property
    def size(self) -> int | None:
        """Size of the file in bytes, compressed; None when it is not known in advance."""
        return self.path.stat().st_size if self.path.is_file() else None

    def __iter__(self) -> Iterator[Request | BadRow]:
        done = 0
        try:
            with self._open() as raw:
                for item in islice(self._items(raw), self.limit):
                    self.position = raw.tell() if raw.seekable() else 0
                    yield item
                    done += 1
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise LogUnreadable(
                f"{self.path} is damaged: its compression breaks off after row {done} ({error})"
            ) from error
        except OSError as error:
            raise LogUnreadable(f"{self.path} cannot be read: {error.strerror or error}") from error

    def _open(self) -> BufferedReader:
        if self.name == "-":
            return open(sys.stdin.fileno(), "rb", closefd=False)
        return self.path.open("rb")

    def _items(self, raw: BufferedReader) -> Iterator[Request | BadRow]:
        lines = LineStream(opened(raw, self.name))
        is_json = self._is_json(lines)
        columns: ColumnMapping | None = None
        seen: Collection[str] = ()
        for row in json_rows(lines) if is_json else csv_rows(lines, self.name):
            if isinstance(row.fields, str):
                yield BadRow(row.line, row.fields, row.text)
                continue
            try:
                if columns is None or row.fields.keys() != seen:
                    columns = guess(self.mapping, row.fields, whole=not is_json)
                    seen = row.fields.keys()
                yield self._request(row.line, row.fields, columns)
            except RowUnreadable as error:
                if columns is None:
                    raise LogUnreadable(f"{self.path}, line {row.line}, {error}") from None
                yield BadRow(row.line, str(error), row.text)

    def _is_json(self, lines: LineStream) -> bool:
        suffixes = {suffix.lower() for suffix in self.path.suffixes[-2:]}
        if suffixes & CSV_SUFFIXES:
            return False
        first = next(iter(lines), None)
        lines.put_back([first] if first else [])
        refuse_array(first, self.name)
        named = bool(suffixes & JSON_SUFFIXES)
        return named or (first is not None and first.text.lstrip().startswith("{"))

    def _request(self, line: int, fields: dict[str, str], columns: ColumnMapping) -> Request:
        return request_of(fields, columns, source=self.name, line=line, now_ms=self.now_ms())
