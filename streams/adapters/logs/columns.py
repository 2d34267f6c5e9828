"""How a request log is read: its format, and which of its columns are the fields of a request."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from streams.adapters.logs.rows import RowUnreadable
from streams.adapters.logs.times import duration_ms, epoch_ms
from streams.records import Request

__all__ = ["ColumnMapping", "guess", "or_usual", "request_of"]

USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "userid", "username", "group_id", "groupid", "customer_id"),
    "service": ("service", "item", "composite", "service_id", "service_name", "item_id"),
    "time": ("at_ms", "time", "ts", "timestamp", "time_ms", "at", "datetime", "@timestamp"),
    "tier": ("tier",),
    "pool": ("pool",),
}
OPTIONS = {"user": "--user", "service": "--item"}  # of the columns that every log must have


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMapping:
    """The format of a log, and the column of each field of a request; None: by the usual names.

    A field of nested JSON is a column whose name is its path, as `user.id`.
    """

    user: str | None = None
    service: str | None = None
    time: str | None = None  # optional; without it the time is that of reading
    tier: str | None = None
    pool: str | None = None
    duration: str | None = None  # optional; how long a request was served
    parameters: tuple[str, ...] | None = None  # None: all other columns
    time_unit: str = "auto"  # or one of TIME_UNITS
    duration_unit: str = "ms"  # or another of TIME_UNITS
    time_format: str | None = None  # as of `datetime.strptime`, instead of a unit
    service_from: re.Pattern[str] | None = None  # its last group in the column is the service
    format: str = "auto"  # one of FORMATS
    pattern: re.Pattern[str] | None = None  # a format of one's own: its named groups are columns

    def named(self) -> set[str]:
        """The columns that are named, of those that a row may do without."""
        return {*filter(None, (self.tier, self.pool, self.duration)), *(self.parameters or ())}


def or_usual(mapping: ColumnMapping, usual: ColumnMapping) -> ColumnMapping:
    """`mapping`, and where it says nothing what is `usual` in a format."""
    given = {"user": mapping.user, "time": mapping.time, "parameters": mapping.parameters}
    found: dict[str, Any] = {
        name: getattr(usual, name) if value is None else value for name, value in given.items()
    }
    if mapping.service is None:
        found["service"] = usual.service
        found["service_from"] = mapping.service_from or usual.service_from
    if mapping.time is None and mapping.time_unit == "auto":
        found["time_unit"] = usual.time_unit
    return replace(mapping, **found)


def guess(mapping: ColumnMapping, columns: Collection[str], *, whole: bool) -> ColumnMapping:
    """Complete `mapping` by the usual names among `columns`, ignoring case.

    With `whole` these are all columns of the log; otherwise other rows may have different ones.

    Raises
    ------
    RowUnreadable
        Columns of `mapping` do not exist, or none has a usual name of the user or the service: all
        that are missing.
    """
    by_name = {name.strip().lower(): name for name in reversed(list(columns))}
    found: dict[str, Any] = {
        part: getattr(mapping, part) or next((by_name[n] for n in usual if n in by_name), None)
        for part, usual in USUAL_NAMES.items()
    }
    needed = [found["user"], found["service"], mapping.time]
    if whole:
        others = mapping.parameters or ()
        needed += [mapping.tier, mapping.pool, mapping.duration, *others]
    unknown = [part for part in OPTIONS if found[part] is None]
    named = [name for name in dict.fromkeys(needed) if name is not None]
    missing = [repr(name) for name in named if name not in columns]
    missing += [f"that looks like the {part}" for part in unknown]
    if missing:
        fix = " and ".join(OPTIONS[part] for part in unknown)
        raise RowUnreadable(
            f"has no column {', none '.join(missing)}: it has {_listed(columns)}"
            + (f"; name the right one with {fix}" if fix else "")
        )
    return replace(mapping, **found)


def _listed(columns: Collection[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in list(columns)[:12])
    return shown + (f" and {len(columns) - 12} more" if len(columns) > 12 else "")


def request_of(
    row: Mapping[str, str], columns: ColumnMapping, *, source: str, line: int, now_ms: int
) -> Request:
    """The request of a row. Its id depends on the place of the row only.

    Raises
    ------
    RowUnreadable
        Its time, service or duration cannot be parsed, or its text cannot be encoded as UTF-8.
    """
    time = row.get(columns.time, "") if columns.time else str(now_ms)
    at_ms = _at_ms(time, columns) if columns.time else now_ms
    names = (columns.user, columns.service, columns.tier, columns.pool)
    user, service, tier, pool = ("" if name is None else row.get(name, "") for name in names)
    service = _found(service, columns) if columns.service_from else service
    # Files of the same name are told apart by their times; so are two runs of standard input.
    stamp = time if columns.time or source == "-" else ""
    taken, others = {*names, columns.time, columns.duration}, columns.parameters
    parameters = {
        name: value
        for name, value in row.items()
        if value and (name not in taken if others is None else name in others)
    }
    try:
        "".join((user, service, tier, pool, *parameters, *parameters.values())).encode()
        digest = hashlib.blake2b(f"{source}\0{line}\0{stamp}".encode(), digest_size=16)
    except UnicodeEncodeError:
        raise RowUnreadable("not valid UTF-8") from None
    return Request(
        request_id=digest.hexdigest(),
        user=user,
        service=service,
        at_ms=at_ms,
        parameters=parameters,
        tier=tier or "standard",
        pool=pool or "default",
        serve_ms=_serve_ms(row.get(columns.duration, ""), columns) if columns.duration else 0,
    )


def _at_ms(time: str, columns: ColumnMapping) -> int:
    try:
        return epoch_ms(time, columns.time_unit, columns.time_format)
    except RowUnreadable as error:
        raise RowUnreadable(f"column {columns.time!r}: {error}") from None


def _serve_ms(text: str, columns: ColumnMapping) -> int:
    try:
        return duration_ms(text, columns.duration_unit)
    except RowUnreadable as error:
        raise RowUnreadable(f"column {columns.duration!r}: {error}") from None


def _found(text: str, columns: ColumnMapping) -> str:
    """The service in a column's text; there is none where there is no text."""
    assert columns.service_from is not None
    found = columns.service_from.search(text)
    if found:
        return found[found.lastindex or 0]
    if not text:
        return ""
    raise RowUnreadable(
        f"column {columns.service!r}: {text[:80]!r} does not match {columns.service_from.pattern!r}"
    )
