"""Rows of Parquet, by pyarrow."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from datetime import date
from itertools import chain
from typing import Any

from streams.adapters.logs.json_rows import fields_of
from streams.adapters.logs.rows import LineStream, LogRow
from streams.errors import LogUnreadable

__all__ = ["PARQUET", "parquet_rows"]

PARQUET = b"PAR1"  # its first bytes
BATCH_ROWS = 4_096
TOO_FAR = "has a time that is not within the years 1 to 9999"
TOO_LONG = "has a duration of more than 999999999 days"


def parquet_rows(lines: LineStream, name: str) -> Iterator[LogRow]:
    """Rows of Parquet; a row's place is its number.

    Raises
    ------
    LogUnreadable
        The library is missing, or the file is damaged, or is no file.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415  # an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ModuleNotFoundError:
        raise LogUnreadable(f"{name} is Parquet: pip install 'foremesh[parquet]'") from None
    if name == "-":
        raise LogUnreadable("Parquet is read from its end: name its file, not standard input")
    try:
        file = parquet.ParquetFile(lines.stream)
        _refuse_twice(file.schema_arrow.names, name)
        batches = file.iter_batches(BATCH_ROWS)
        rows = chain.from_iterable(_plain(batch, pa) for batch in batches)
        for number, (row, fault) in enumerate(rows, start=1):
            text = json.dumps(row, ensure_ascii=False)
            yield LogRow(number, text, fault or fields_of(row))
    except (pa.ArrowException, OSError) as error:
        raise LogUnreadable(f"{name} cannot be read as Parquet: {error}") from error


def _refuse_twice(names: list[str], name: str) -> None:
    twice = [column for column, n in Counter(names).items() if n > 1]
    if twice:
        raise LogUnreadable(f"{name} has two columns {twice[0][:40]!r}: give each its own name")


def _plain(batch: Any, pa: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """The rows of a batch as JSON has them, each with why it is none; times in µs at the finest."""
    types = [field.with_type(_in_us(field.type, pa)) for field in batch.schema]
    batch = batch.cast(pa.schema(types), safe=False)
    try:
        rows = [(row, "") for row in batch.to_pylist()]
    except (OverflowError, ValueError):
        rows = _cell_by_cell(batch)
    for row, fault in rows:
        yield {name: _json_value(value) for name, value in row.items()}, fault


def _in_us(kind: Any, pa: Any) -> Any:
    """A type with µs in place of ns, which Python has not; within lists and structs too."""
    if pa.types.is_struct(kind):
        return pa.struct([part.with_type(_in_us(part.type, pa)) for part in kind.fields])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_in_us(kind.value_type, pa)))
    if getattr(kind, "unit", "") != "ns":
        return kind
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    return pa.duration("us") if pa.types.is_duration(kind) else pa.time64("us")


def _cell_by_cell(batch: Any) -> list[tuple[dict[str, Any], str]]:
    """The rows of a batch in which a value is none that Python has; each with the first such."""
    rows = []
    for cells in zip(*batch.columns, strict=True):
        values, faults = zip(*map(_value_of, cells), strict=True)
        row = dict(zip(batch.schema.names, values, strict=True))
        rows.append((row, next(filter(None, faults), "")))
    return rows


def _value_of(cell: Any) -> tuple[Any, str]:
    """The value of a cell and "", or else what can be shown of it and what is wrong."""
    try:
        return cell.as_py(), ""
    except UnicodeDecodeError as error:
        return error.object, "not valid UTF-8"
    except OverflowError:
        lasts = str(cell.type).startswith("duration")
        return getattr(cell, "value", None), TOO_LONG if lasts else TOO_FAR
    except ValueError as error:
        return None, f"has a value of the type {cell.type} that cannot be read: {error}"


def _json_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _json_value(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    if isinstance(value, date):  # or a time too
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, float) and math.isnan(value):  # pandas writes it for what is missing
        return None
    return value if isinstance(value, str | float | int | None) else str(value)
