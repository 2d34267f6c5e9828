"""Rows of JSON: an object on each line, or those of one array."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from streams.adapters.logs.compression import LogStream
from streams.adapters.logs.rows import MAX_LINE, LineStream, LogRow
from streams.errors import LogUnreadable

__all__ = ["array_rows", "begins_array", "fields_of", "json_rows"]

PIECE = 64 * 1024  # bytes of an array that are read at once


def json_rows(lines: LineStream, name: str) -> Iterator[LogRow]:
    """Rows of JSON lines; see `fields_of` for their fields."""
    del name
    for line in lines:
        yield LogRow(line.number, line.text, line.fault or _fields(line.text))


def array_rows(lines: LineStream, name: str) -> Iterator[LogRow]:
    """Rows of a JSON array, or of several one after the other; a row's place is its number.

    Raises
    ------
    LogUnreadable
        What is there is no array, it breaks off, or an element is longer than a line may be.
    """
    text = _ArrayText(lines.stream, name)
    while (found := text.element()) is not None:
        yield LogRow(text.number, *found)


def begins_array(start: bytes) -> bool:
    """Whether these first bytes are those of a JSON array, and not of a time in brackets."""
    start = start.removeprefix(codecs.BOM_UTF8).lstrip()
    return start[:1] == b"[" and start[1:].lstrip()[:1] in {b"", b"{", b"]"}


def fields_of(value: Mapping[str, Any]) -> dict[str, str] | str:
    """The fields of an object by their paths (`user.id`), or the reason why it has none.

    Values become text: numbers as they are written, lists JSON, null the empty string.
    """
    pairs = list(_flat(value, ""))
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    return _twice(pairs)


def _twice(pairs: Sequence[tuple[str, Any]]) -> str:
    counts = Counter(name for name, _ in pairs)
    return f"names {max(counts, key=counts.__getitem__)!r} twice"


def _flat(value: Mapping[str, Any], before: str) -> Iterator[tuple[str, str]]:
    for name, item in value.items():
        if isinstance(item, dict) and item:
            yield from _flat(item, f"{before}{name}.")
        else:
            yield before + name, _text(item)


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _json(value)


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def _json(value: object) -> str:
    if isinstance(value, _Number):
        return value
    if isinstance(value, list):
        return f"[{', '.join(map(_json, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_json(name)}: {_json(item)}' for name, item in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)


class _NameTwice(ValueError):
    """An object has a name twice."""


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _NameTwice(_twice(pairs))
    return found


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_Number, parse_float=_Number, parse_constant=_Number
)
_PLAIN = json.JSONDecoder(parse_int=str)  # Python's own whole numbers have 4,300 digits at most


def _fields(text: str) -> dict[str, str] | str:
    try:
        value = _DECODER.decode(text)
        return fields_of(value) if isinstance(value, dict) else "not a JSON object"
    except RecursionError:
        return "nested too deep"
    except _NameTwice as error:
        return str(error)
    except ValueError as error:
        if text.strip() == "{":
            return "an object that goes on in the next line: write one a line, `jq -c . LOG`"
        return f"not JSON: {error}"


class _ArrayText:
    """The text of arrays, read in pieces, and taken off element by element."""

    def __init__(self, stream: LogStream, name: str) -> None:
        self.number = 0  # of the last element, from 1
        self._stream, self._name = stream, name
        self._decoded = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._text = ""
        self._within = False  # an array

    def element(self) -> tuple[str, dict[str, str] | str] | None:
        """The next element: its text, and its fields; None at the end."""
        while True:
            start = self._next()
            if start == "[" and not self._within:
                self._within = True
            elif start == "]" and self._within:
                self._within = False
            elif start == "" and not self._within:
                return None
            elif self._within:
                return self._taken()
            else:
                raise self._wrong("is no element of an array")
            self._text = self._text[1:]

    def _next(self) -> str:
        """The first character that says something; "" at the end."""
        while True:
            self._text = self._text.lstrip(" \t\r\n,")
            if self._text or not self._more():
                return self._text[:1]

    def _more(self) -> bool:
        """Read another piece; whether there was one."""
        data = self._stream.read(PIECE)
        self._text += self._decoded.decode(data, final=not data)
        return bool(data)

    def _taken(self) -> tuple[str, dict[str, str] | str]:
        self.number += 1
        while True:
            try:
                _, end = _PLAIN.raw_decode(self._text)
            except RecursionError:
                raise self._wrong("is nested too deep") from None
            except ValueError as error:
                if len(self._text) > MAX_LINE:
                    raise self._wrong(f"is no JSON, or longer than {MAX_LINE} bytes") from None
                if not self._more():
                    raise self._wrong(f"is no JSON: {getattr(error, 'msg', error)}") from None
                continue
            if end < len(self._text) or not self._more():  # a number may go on
                text, self._text = self._text[:end], self._text[end:]
                return text, _fields(text)

    def _wrong(self, what: str) -> LogUnreadable:
        return LogUnreadable(f"{self._name}, element {max(self.number, 1)} of its array, {what}")
