"""The form of a log file by its first bytes: gzip is opened, what cannot be read is named."""

from __future__ import annotations

import gzip
from io import BufferedReader
from typing import Protocol

from streams.adapters.logs.rows import LogLine
from streams.errors import LogUnreadable

__all__ = ["LogStream", "opened", "refuse_array"]

GZIP = b"\x1f\x8b"
_LONGEST = 8  # bytes of the longest beginning below
_UTF_16 = "is UTF-16: make it UTF-8, `iconv -f UTF-16 -t UTF-8`"
_UNREAD = {  # by their first bytes
    b"\x28\xb5\x2f\xfd": "is compressed with zstd: decompress it, `zstd -dc LOG | foremesh … -`",
    b"\xfd7zXZ\0": "is compressed with xz: decompress it, `xz -dc LOG | foremesh … -`",
    b"BZh": "is compressed with bzip2: decompress it, `bzip2 -dc LOG | foremesh … -`",
    b"PK\x03\x04": "is a zip archive: unpack it, `unzip -p LOG | foremesh … -`",
    b"\x04\x22\x4d\x18": "is compressed with LZ4: decompress it, `lz4 -dc LOG | foremesh … -`",
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
    b"PAR1": "is Parquet: write it as CSV or JSON lines, `duckdb -c \"COPY 'LOG' TO 'log.csv'\"`",
    b"ORC": "is ORC: write it as CSV or JSON lines",
    b"Obj\x01": "is an Avro file: write it as JSON lines, `avro-tools tojson LOG`",
    b"SQLite f": "is an SQLite database: write its table as CSV",
}


class LogStream(Protocol):
    """A stream of bytes whose beginning can be looked at."""

    def peek(self, size: int, /) -> bytes:
        """The next bytes, which stay."""
        ...

    def readline(self, size: int, /) -> bytes:
        """At most `size` bytes, up to the next line end; none at the end."""
        ...


def opened(raw: BufferedReader, name: str) -> LogStream:
    """The text of a log, decompressed; gzip may be of several members.

    Raises
    ------
    LogUnreadable
        It has another form; the message says what to do.
    """
    stream: LogStream = raw
    if raw.peek(len(GZIP))[: len(GZIP)] == GZIP:
        stream = gzip.GzipFile(fileobj=raw)
    start = stream.peek(_LONGEST)[:_LONGEST]
    for beginning, sentence in _UNREAD.items():
        if start.startswith(beginning):
            raise LogUnreadable(f"{name} {sentence}")
    return stream


def refuse_array(first: LogLine | None, name: str) -> None:
    """Refuse a JSON array; raises `LogUnreadable` with what to do."""
    if first is not None and first.text.lstrip().startswith("["):
        raise LogUnreadable(
            f"{name} is a JSON array: write an object per line, `jq -c '.[]' LOG | foremesh … -`"
        )
