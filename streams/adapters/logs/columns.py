"""The mapping from columns of a request log to the fields of a request."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from streams.records import Request

__all__ = ["TIME_UNITS", "ColumnMapping", "RowUnreadable", "epoch_ms", "guess", "request_of"]

TIME_UNITS: Mapping[str, float] = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}  # to ms
LAST_MS = 253_402_300_799_999  # the end of the year 9999
LAST_AUTO_MS = 7_258_118_400_000  # the year 2200: a number that comes to more has another unit

_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
# A year of 1900 to 2199, month and day; then nothing, hours, minutes, seconds, their fraction.
# Ten digits that begin with 19 are seconds of the years from 2030 on.
_DATE = re.compile(
    r"(?!19\d{8}(?:\.|$))((?:19|20|21)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))"
    r"(?:([01]\d|2[0-3])(?:([0-5]\d)(?:([0-5]\d)(\d{3}(?:\d{3})?)?)?)?)?(?:\.(\d*))?",
    re.ASCII,
)

USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "userid", "username", "group_id", "groupid", "customer_id"),
    "service": ("service", "item", "composite", "service_id", "service_name", "item_id"),
    "time": ("at_ms", "time", "ts", "timestamp", "time_ms", "at", "datetime", "@timestamp"),
    "tier": ("tier",),
    "pool": ("pool",),
}


class RowUnreadable(ValueError):
    """A row that is not a request; the message is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMapping:
    """The column of each field of a request; None: find it by the usual names."""

    user: str | None = None
    service: str | None = None
    time: str | None = None  # optional; without it the time is that of reading
    tier: str | None = None
    pool: str | None = None
    parameters: tuple[str, ...] | None = None  # None: all other columns
    time_unit: str = "auto"  # one of TIME_UNITS; "auto" by magnitude, or ISO 8601


def guess(mapping: ColumnMapping, columns: Collection[str], *, whole: bool) -> ColumnMapping:
    """Complete `mapping` by the usual names among `columns`, ignoring case.

    With `whole` these are all columns of the log; otherwise other rows may have different ones.

    Raises
    ------
    RowUnreadable
        A column of `mapping` does not exist, or none has a usual name of the user or the service.
    """
    by_name = {name.strip().lower(): name for name in reversed(list(columns))}
    found: dict[str, Any] = {
        part: getattr(mapping, part) or next((by_name[n] for n in usual if n in by_name), None)
        for part, usual in USUAL_NAMES.items()
    }
    for part, option in (("user", "--user"), ("service", "--item")):
        if found[part] is None:
            raise RowUnreadable(
                f"has no column that looks like the {part}: it has {_listed(columns)};"
                f" name the right one with {option}"
            )
    needed = [found["user"], found["service"], mapping.time]
    if whole:
        needed += [mapping.tier, mapping.pool, *(mapping.parameters or ())]
    for name in needed:
        if name is not None and name not in columns:
            raise RowUnreadable(f"has no column {name!r}: it has {_listed(columns)}")
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
        Its time cannot be parsed, or its text cannot be encoded as UTF-8.
    """
    time = row.get(columns.time, "") if columns.time else str(now_ms)
    at_ms = epoch_ms(time, columns.time_unit if columns.time else "ms")
    names = (columns.user, columns.service, columns.tier, columns.pool)
    user, service, tier, pool = (row.get(name or "", "") for name in names)
    # Files of the same name are told apart by their times; so are two runs of standard input.
    stamp = time if columns.time or source == "-" else ""
    taken, others = {*names, columns.time}, columns.parameters
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
    )


def epoch_ms(text: str, unit: str = "auto") -> int:
    """Parse a time: a number since the epoch in `unit`, or ISO 8601 (UTC when it has no zone).

    "auto" chooses the unit by magnitude: below 1e11 seconds, below 1e14 milliseconds, below 1e17
    microseconds, else nanoseconds. Digits that are a date and a time to the second are those
    (20261107080000), fewer that are a date could be seconds or milliseconds as well.

    Raises
    ------
    RowUnreadable
        It is neither, or could be either, or is beyond the year 9999; or a number in no given unit
        is beyond 2199.
    """
    text = text.strip()
    if not text:
        raise RowUnreadable("time is missing")
    date = _DATE.fullmatch(text) if unit == "auto" else None
    if date:
        at_ms = _digits_ms(date)
    elif _NUMBER.fullmatch(text):
        at_ms = _number_ms(text, unit)
    elif unit in TIME_UNITS:
        raise RowUnreadable(f"time {text[:40]!r} is no number")
    else:
        at_ms = _iso_ms(text)
    if not math.isfinite(at_ms) or abs(at_ms) > LAST_MS:
        raise RowUnreadable(f"time {text[:40]!r} is beyond the year 9999")
    return round(at_ms)


def _number_ms(text: str, unit: str) -> float:
    number = float(text)
    if unit in TIME_UNITS:
        return number * TIME_UNITS[unit]
    guessed = _unit(number)
    at_ms = number * TIME_UNITS[guessed]
    if abs(at_ms) >= LAST_AUTO_MS:
        raise RowUnreadable(
            f"time {text[:40]!r} is beyond the year 2199 in {guessed}: give its --time-unit"
        )
    return at_ms


def _digits_ms(date: re.Match[str]) -> float:
    """The time of digits that are a date, if they cannot be a number as well."""
    text, (day, hour, minute, second, *fractions) = date[0], date.groups()
    if second is None:
        raise RowUnreadable(
            f"time {text!r} may be a date or a number: write it with hyphens, or give --time-unit"
        )
    fraction = "".join(filter(None, fractions))
    return _iso_ms(f"{day}T{hour}{minute}{second}.{fraction or '0'}", text)


def _iso_ms(text: str, written: str = "") -> float:
    """The time of this text; the file may have `written` it in another way."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
    except (ValueError, OverflowError):
        found = (written or text)[:40]
        raise RowUnreadable(f"time {found!r} is neither a number nor ISO 8601") from None


def _unit(number: float) -> str:
    size = abs(number)
    return "s" if size < 1e11 else "ms" if size < 1e14 else "us" if size < 1e17 else "ns"
