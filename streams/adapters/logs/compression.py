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
_TAR = slice(257, 262)  # where a tar archive says that it is one, after a header with NULs
_UTF_16 = "is UTF-16: make it UTF-8, `iconv -f UTF-16 -t UTF-8`"
_UNREAD = {  # by their first bytes, of several the longest first
    b"PK\x03\x04": "is a zip archive, or a spreadsheet: unpack it, `unzip -p LOG | foremesh … -`, or"
    " write it as CSV",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive: unpack it, `7z x -so LOG | foremesh … -`",
    b"\xd0\xcf\x11\xe0": "is a spreadsheet: write it as CSV",
    b"\x04\x22\x4d\x18": "is compressed with LZ4: decompress it, `lz4 -dc LOG | foremesh … -`",
    b"\x1f\x9d": "is compressed with compress: decompress it, `zcat LOG | foremesh … -`",
    b"\x5d\0\0": "is compressed with LZMA: decompress it, `xz -dc LOG | foremesh … -`",
    b"\xff\xfe\0\0": "is UTF-32: make it UTF-8, `iconv -f UTF-32 -t UTF-8`",
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
    if sentence := _why_unread(stream.peek(_TAR.stop)[: _TAR.stop]):
        raise LogUnreadable(f"{name} {sentence}")
    return stream


def _why_unread(head: bytes) -> str | None:
    """What a log is that is not read, and what to do; None if it may be one that is."""
    start = head[:_LONGEST]
    if head[_TAR] == b"ustar" and b"\0" in head:
        return "is a tar archive: unpack it, `tar -xOf LOG | foremesh … -`"
    if len(start) == _LONGEST:
        for even, code in ((0, "UTF-16BE"), (1, "UTF-16LE")):
            if not any(start[even::2]) and all(start[1 - even :: 2]):
                return f"is UTF-16 without its mark: make it UTF-8, `iconv -f {code} -t UTF-8`"
    return next((sentence for begun, sentence in _UNREAD.items() if start.startswith(begun)), None)


class _MemberReader(io.RawIOBase):
    """The decompressed bytes of one member after another; what breaks off or is none is damage."""

    def __init__(self, raw: BufferedReader, begun: Callable[[], Any]) -> None:
        self._raw, self._begun = raw, begun
        self._member = begun()

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer as far as there is something left; returns the number of bytes."""
        found = b""
        while not found and (data := self._next()) is not None:
            try:
                found = self._member.decompress(data, len(buffer))
            except (OSError, lzma.LZMAError) as error:
                raise EOFError(str(error)) from error
        buffer[: len(found)] = found
        return len(found)

    def _next(self) -> bytes | None:
        """What is to be decompressed, which may have been given already; None at the end."""
        if not self._member.eof:
            data = self._raw.read(_PIECE) if self._member.needs_input else b""
            if self._member.needs_input and not data:
                raise EOFError("its last member is not whole")
            return data
        data = self._member.unused_data or self._raw.read(_PIECE)
        while data and not data.strip(b"\0"):  # members may be padded
            data = self._raw.read(_PIECE)
        self._member = self._begun() if data else self._member
        return data.lstrip(b"\0") or None


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
    b"BZh": lambda raw, _: io.BufferedReader(_MemberReader(raw, bz2.BZ2Decompressor)),
    b"\xfd7zXZ\0": lambda raw, _: io.BufferedReader(_MemberReader(raw, lzma.LZMADecompressor)),
    b"\x28\xb5\x2f\xfd": _zstd,
    # What frames of zstd may skip, with which pzstd begins.
    **{bytes([0x50 + kind, 0x2A, 0x4D, 0x18]): _zstd for kind in range(16)},
}
