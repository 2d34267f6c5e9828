"""The bytes of a log, decompressed; what it is, its first bytes say."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Mapping
from io import BufferedReader
from typing import Any, Protocol

from streams.errors import LogUnreadable

__all__ = ["DAMAGED", "LogStream", "opened"]

DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)  # of compressed data
_PIECE = 1024  # bytes of zstd at once, each of which may stand for many thousands
_LONGEST = 8  # bytes of the longest beginning below
_UTF_16 = "is UTF-16: make it UTF-8, `iconv -f UTF-16 -t UTF-8`"
_UNREAD = {  # by their first bytes
    b"PK\x03\x04": "is a zip archive: unpack it, `unzip -p LOG | foremesh … -`",
    b"\x04\x22\x4d\x18": "is compressed with LZ4: decompress it, `lz4 -dc LOG | foremesh … -`",
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
    b"ORC": "is ORC: write it as Parquet, CSV or JSON lines",
    b"Obj\x01": "is an Avro file: write it as JSON lines, `avro-tools tojson LOG`",
    b"SQLite f": "is an SQLite database: write its table as CSV",
}


class LogStream(Protocol):
    """A stream of bytes whose beginning can be looked at."""

    def peek(self, size: int, /) -> bytes:
        """Some of the next bytes, which stay; none at the end."""
        ...

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...

    def readline(self, size: int, /) -> bytes:
        """At most `size` bytes, up to the next line end; none at the end."""
        ...


def opened(raw: BufferedReader, name: str) -> LogStream:
    """The bytes of a log, decompressed; they may be of several members.

    Raises
    ------
    LogUnreadable
        It has a form that is not read, or a library is missing; the message says what to do.
    """
    stream: LogStream = raw
    start = raw.peek(_LONGEST)[:_LONGEST]
    for beginning, decompressed in _COMPRESSED.items():
        if start.startswith(beginning):
            stream = decompressed(raw, name)
            start = stream.peek(_LONGEST)[:_LONGEST]
            if start.startswith(tuple(_COMPRESSED)):
                raise LogUnreadable(f"{name} is compressed twice: decompress it once")
            break
    for beginning, sentence in _UNREAD.items():
        if start.startswith(beginning):
            raise LogUnreadable(f"{name} {sentence}")
    return stream


def _zstd(raw: BufferedReader, name: str) -> LogStream:
    try:
        import zstandard  # noqa: PLC0415  # an extra
    except ModuleNotFoundError:
        raise LogUnreadable(
            f"{name} is compressed with zstd: pip install 'foremesh[zstd]',"
            " or `zstd -dc LOG | foremesh … -`"
        ) from None
    return io.BufferedReader(_ZstdReader(raw, zstandard))


class _ZstdReader(io.RawIOBase):
    """The decompressed bytes of zstd, of one frame or several; where it breaks off, `EOFError`."""

    def __init__(self, raw: BufferedReader, library: Any) -> None:
        self._raw, self._library = raw, library
        self._frame: Any = None  # that is decompressed
        self._left = b""  # decompressed

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer as far as there is something left; returns the number of bytes."""
        while not self._left and (data := self._raw.read(_PIECE)):
            self._left = self._decompressed(data)
        if not self._left and self._frame is not None:
            raise EOFError("its last frame is not whole")
        taken, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def _decompressed(self, data: bytes) -> bytes:
        found = []
        try:
            while data:
                self._frame = self._frame or self._library.ZstdDecompressor().decompressobj()
                found.append(self._frame.decompress(data))
                data = self._frame.unused_data if self._frame.eof else b""
                self._frame = None if self._frame.eof else self._frame
        except self._library.ZstdError as error:
            raise EOFError(str(error)) from error
        return b"".join(found)


_COMPRESSED: Mapping[bytes, Callable[[BufferedReader, str], LogStream]] = {
    b"\x1f\x8b": lambda raw, _: gzip.GzipFile(fileobj=raw),
    b"BZh": lambda raw, _: bz2.BZ2File(raw),
    b"\xfd7zXZ\0": lambda raw, _: lzma.LZMAFile(raw),  # noqa: SIM115  # as long as `raw`
    b"\x28\xb5\x2f\xfd": _zstd,
}
