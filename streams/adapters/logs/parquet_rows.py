"""Rows of Parquet, by pyarrow."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from itertools import chain
from typing import Any

from streams.adapters.logs.json_rows import fields_of
from streams.adapters.logs.rows import LineStream, LogRow
from streams.errors import LogUnreadable

__all__ = ["PARQUET", "parquet_rows"]

PARQUET = b"PAR1"  # its first bytes
BATCH_ROWS = 4_096


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
    batch = _with_times(
        batch, pa, lambda kind: pa.timestamp("us", kind.tz) if kind.unit == "ns" else kind
    )
    try:
        rows = batch.to_pylist()
    except (OverflowError, ValueError):
        yield from _one_by_one(batch, pa)
        return
    for row in rows:
        yield {name: _json_value(value) for name, value in row.items()}, ""


def _one_by_one(batch: Any, pa: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """The same where a time is none that Python has: what is wrong is the row of that time alone."""
    if batch.num_rows > 1:
        for number in range(batch.num_rows):
            yield from _plain(batch.slice(number, 1), pa)
        return
    try:
        [row] = _with_times(batch, pa, lambda _: pa.int64()).to_pylist()
    except (OverflowError, ValueError):  # it is within a column
        row = {}
    yield (
        {name: _json_value(value) for name, value in row.items()},
        "has a time that is not within the years 1 to 9999",
    )


def _with_times(batch: Any, pa: Any, type_of: Callable[[Any], Any]) -> Any:
    """The batch with its columns of times as other types."""
    types = [
        field.with_type(type_of(field.type)) if pa.types.is_timestamp(field.type) else field
        for field in batch.schema
    ]
    return batch.cast(pa.schema(types), safe=False)


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
