"""Rows of lines that a regular expression takes apart: access logs, and formats of one's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from streams.adapters.logs.rows import LineStream, LogRow

__all__ = ["ACCESS_LOGS", "FIRST_SEGMENT", "LineRows", "access_rows", "own_rows"]

LineRows = Callable[[LineStream, str], Iterator[LogRow]]

# The first segment of a path, or of that of a URL; / of one without.
FIRST_SEGMENT = re.compile(r"^(?:[A-Za-z][\w+.-]*://[^/?#]*)?(?:/*([^/?#]+)|(/))")

_QUOTED = r'(?:[^"\\]|\\.)*'
# Other than a method, a path and a protocol there may be what no server could read.
_REQUEST = (
    r'"(?:(?P<method>[\w!#$%&*+.^`|~-]+) (?P<path>(?:[^"\\\s]|\\.)+)(?: (?P<protocol>[\w/.]+))?'
    rf'|{_QUOTED})"'
)
_COMMON = (
    r"(?P<address>\S+) \S+ (?P<remote_user>(?:[^ ]| (?!\[))*) \[(?P<time>[^\]]*)\]"
    rf" {_REQUEST} (?P<status>\d+|-) (?P<bytes>\d+|-)"
)
_COMBINED = rf'{_COMMON} "(?P<referer>{_QUOTED})" "(?P<agent>{_QUOTED})"'
_ENVOY = (
    rf"\[(?P<time>[^\]]*)\] {_REQUEST} (?P<status>\d+|-) (?P<flags>\S+)"
    rf'(?: \S+ \S+ "{_QUOTED}")?'  # Istio has details of the response and of the connection
    r" (?P<received>\d+|-) (?P<bytes>\d+|-) (?P<duration_ms>\d+|-) \S+"
    rf' "(?P<forwarded_for>{_QUOTED})" "(?P<agent>{_QUOTED})" "(?P<request_id>{_QUOTED})"'
    rf' "(?P<host>{_QUOTED})" "(?P<upstream>{_QUOTED})"'
    r"(?: \S+ \S+ \S+ (?P<downstream>\S+))?"  # Istio has addresses too
)

# By name, so that what holds of a line's beginning alone comes last. What follows is not read.
ACCESS_LOGS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(f"{pattern}(?: .*)?", re.ASCII | re.DOTALL)
    for name, pattern in (("envoy", _ENVOY), ("combined", _COMBINED), ("common", _COMMON))
}


def own_rows(pattern: re.Pattern[str]) -> LineRows:
    """The reader of lines in which `pattern` is found, by its named groups."""

    def rows(lines: LineStream, name: str) -> Iterator[LogRow]:
        del name
        for line in lines:
            found = pattern.search(line.text)
            fields = found.groupdict(default="") if found else "does not match the pattern"
            yield LogRow(line.number, line.text, line.fault or fields)

    return rows


def access_rows(format_name: str) -> LineRows:
    """The reader of an access log; `user` is the remote user, or the address."""
    pattern = ACCESS_LOGS[format_name]

    def rows(lines: LineStream, name: str) -> Iterator[LogRow]:
        del name
        for line in lines:
            found = pattern.fullmatch(line.text)
            fields = _fields(found) if found else f"no line of the format {format_name}"
            yield LogRow(line.number, line.text, line.fault or fields)

    return rows


def _fields(found: re.Match[str]) -> dict[str, str]:
    fields = found.groupdict(default="")
    for name, value in fields.items():
        if value == "-":
            fields[name] = ""
    return {"user": _user(fields), **fields}


def _user(fields: Mapping[str, str]) -> str:
    """The user who is logged in, or else the address of the client, without a port."""
    if "address" in fields:
        return fields["remote_user"] or fields["address"]
    first = fields["forwarded_for"].partition(",")[0].strip()
    return first or fields["downstream"].rpartition(":")[0]
