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
        for number, row in enumerate(rows, start=1):
            yield LogRow(number, json.dumps(row, ensure_ascii=False), fields_of(row))
    except (pa.ArrowException, OSError) as error:
        raise LogUnreadable(f"{name} cannot be read as Parquet: {error}") from error


def _refuse_twice(names: list[str], name: str) -> None:
    twice = [column for column, n in Counter(names).items() if n > 1]
    if twice:
        raise LogUnreadable(f"{name} has two columns {twice[0][:40]!r}: give each its own name")


def _plain(batch: Any, pa: Any) -> Iterator[dict[str, Any]]:
    """The rows of a batch as JSON has them; times in µs, as Python has them too."""
    fields = [
        field.with_type(pa.timestamp("us", field.type.tz))
        if pa.types.is_timestamp(field.type)
        else field
        for field in batch.schema
    ]
    for row in batch.cast(pa.schema(fields), safe=False).to_pylist():
        yield {name: _json_value(value) for name, value in row.items()}


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
