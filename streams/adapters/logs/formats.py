"""The formats of request logs: one row each, and how a log tells its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streams.adapters.logs.columns import ColumnMapping
from streams.adapters.logs.csv_rows import csv_rows
from streams.adapters.logs.json_rows import array_rows, begins_array, json_rows
from streams.adapters.logs.parquet_rows import PARQUET, parquet_rows
from streams.adapters.logs.pattern_rows import (
    ACCESS_LOGS,
    FIRST_SEGMENT,
    LineRows,
    access_rows,
    own_rows,
)
from streams.adapters.logs.rows import LineStream
from streams.adapters.logs.swf_rows import swf_rows

__all__ = ["FORMATS", "LogFormat", "format_of"]


_NOTHING = ColumnMapping()
_PEEKED = 64  # bytes, of which blanks may come first


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFormat:
    """A format of request logs."""

    rows: LineRows
    usual: ColumnMapping = _NOTHING  # what no option says
    same: bool = True  # whether all rows have the same columns
    place: str = "line"  # what a row's place counts


_ACCESS = ColumnMapping(
    user="user", service="path", time="time", parameters=(), service_from=FIRST_SEGMENT
)
_JOBS = ColumnMapping(
    user="user", service="executable", time="submit", time_unit="s", parameters=()
)

FORMATS: Mapping[str, LogFormat] = {
    "csv": LogFormat(rows=csv_rows),
    "json": LogFormat(rows=json_rows, same=False),
    **{name: LogFormat(rows=access_rows(name), usual=_ACCESS) for name in ACCESS_LOGS},
    "swf": LogFormat(rows=swf_rows, usual=_JOBS),
    "parquet": LogFormat(rows=parquet_rows, place="row"),
}
_ARRAY = LogFormat(rows=array_rows, same=False, place="element")

_BY_SUFFIX: Mapping[str, set[str]] = {
    "csv": {".csv", ".tsv"},
    "json": {".jsonl", ".ndjson", ".json"},
    "swf": {".swf"},
}


def format_of(mapping: ColumnMapping, path: Path, lines: LineStream) -> LogFormat:
    """The format that is given; else that of the name, or of the first bytes or line."""
    if mapping.pattern is not None:
        return LogFormat(rows=own_rows(mapping.pattern))
    start = lines.stream.peek(_PEEKED)
    name = mapping.format
    if name == "auto":
        name = "parquet" if start.startswith(PARQUET) else _named(path) or _told(start, lines)
    return _ARRAY if name == "json" and begins_array(start) else FORMATS[name]


def _named(path: Path) -> str | None:
    suffixes = {suffix.lower() for suffix in path.suffixes[-2:]}
    return next((name for name, known in _BY_SUFFIX.items() if suffixes & known), None)


def _told(start: bytes, lines: LineStream) -> str:
    if begins_array(start):
        return "json"
    first = next(iter(lines), None)
    if first is None:
        return "csv"
    lines.put_back([first])
    text = first.text.lstrip()
    if text.startswith(("{", ";")):
        return "json" if text[0] == "{" else "swf"
    matching = (name for name, form in ACCESS_LOGS.items() if form.fullmatch(first.text))
    return next(matching, "csv")
