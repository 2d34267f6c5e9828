"""The times that request logs write."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from streams.adapters.logs.rows import RowUnreadable
from streams.records.requests import MOST_SERVE_MS

__all__ = ["LAST_MS", "NUMBER", "TIME_UNITS", "duration_ms", "epoch_ms", "is_number", "may_be_days"]

TIME_UNITS: Mapping[str, float] = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}  # to ms
NUMBER = "number"  # a unit: infer it from the magnitude, and take no digits for a date
LAST_MS = 253_402_300_799_999  # the end of the year 9999
NO_DURATION = {"", "-", "-1", "-1.0", "nan", "nat", "na", "n/a", "null", "none"}  # as logs write it
LAST_AUTO_MS = 7_258_118_400_000  # the year 2200: a number that comes to more has another unit

# As clocks, Python and pandas write durations: 0:00:12, 2 days, 0:00:00, 0 days 00:00:01.5
_CLOCK = re.compile(r"(?:(\d{1,6}) days?,? )?(\d{1,6}):([0-5]\d):([0-5]\d(?:\.\d*)?)", re.ASCII)
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
# A year of 1900 to 2199, month and day; then nothing, hours, minutes, seconds, their fraction.
# Ten digits that begin with 19 are seconds of the years from 2030 on.
_DATE = re.compile(
    r"(?!19\d{8}(?:\.|$))((?:19|20|21)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))"
    r"(?:([01]\d|2[0-3])(?:([0-5]\d)(?:([0-5]\d)(\d{3}(?:\d{3})?)?)?)?)?(?:\.(\d*))?",
    re.ASCII,
)
# As in the logs of Apache and nginx: 10/Oct/2000:13:55:36 -0700
_ACCESS = re.compile(
    r"(\d\d)/([A-Z][a-z][a-z])/(\d{4}):(\d\d:\d\d:\d\d(?:\.\d+)?) ([-+]\d{4})", re.ASCII
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def epoch_ms(text: str, unit: str = "auto", form: str | None = None) -> int:
    """Parse a time, in UTC when it has no zone.

    Parameters
    ----------
    text
        The time.
    unit
        "auto": ISO 8601, or else a number since the epoch, whose unit its magnitude says: below 1e11
        seconds, below 1e14 milliseconds, below 1e17 microseconds, else nanoseconds; or as access
        logs write it. Digits that are a date (20261107), or a date and a time to the second
        (20261107080000), are those, of which `NUMBER` takes none. One of `TIME_UNITS`: a number.
    form
        The form of the time, as of `datetime.strptime`; then there is no unit.

    Raises
    ------
    RowUnreadable
        It is none of these, or could be two, or is beyond the year 9999; or a number in no given unit
        is beyond 2199.
    """
    text = text.strip()
    if not text:
        raise RowUnreadable("time is missing")
    if form is not None:
        at_ms = _formed_ms(text, form)
    elif unit in TIME_UNITS:
        at_ms = _in_unit_ms(text, unit)
    else:
        at_ms = _any_ms(text, unit)
    if not math.isfinite(at_ms) or abs(at_ms) > LAST_MS:
        raise RowUnreadable(f"time {text[:40]!r} is beyond the year 9999")
    return round(at_ms)


def duration_ms(text: str, unit: str) -> int:
    """Parse a duration in one of `TIME_UNITS`, or as 0:00:12; 0 where there is none.

    Raises
    ------
    RowUnreadable
        It is neither, negative (but -1, which stands for none), or more than a year.
    """
    text = text.strip()
    if text.casefold() in NO_DURATION:
        return 0
    said = text[:40]
    if clock := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds = map(float, clock.groups(default="0"))
        lasted_ms = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1e3
    elif _NUMBER.fullmatch(text):
        lasted_ms = float(text) * TIME_UNITS[unit]
    else:
        raise RowUnreadable(f"duration {said!r} is neither a number of {unit} nor as 0:00:12")
    if not 0 <= lasted_ms <= MOST_SERVE_MS:
        wrong = "is more" if clock else f"in {unit} is negative or more"
        raise RowUnreadable(f"duration {said!r} {wrong} than a year")
    return round(lasted_ms)


def is_number(text: str) -> bool:
    """Whether a time is a number and no date."""
    text = text.strip()
    return bool(_NUMBER.fullmatch(text)) and not _DATE.fullmatch(text)


def may_be_days(number: str) -> bool:
    """Whether this number, as a spreadsheet's days since 1900, is a time of 2000 to 2099.

    Of a day's parts, that is, and not of seconds: those have three decimals at most.
    """
    days = float(number)
    return 36_526 <= days < 73_051 and days != round(days, 3)


def _any_ms(text: str, unit: str) -> float:
    if unit != NUMBER and (date := _DATE.fullmatch(text)):
        return _digits_ms(date)
    if _NUMBER.fullmatch(text):
        return _number_ms(text)
    if access := _ACCESS.fullmatch(text):
        return _access_ms(access)
    return _iso_ms(text)


def _in_unit_ms(text: str, unit: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise RowUnreadable(f"time {text[:40]!r} is no number")
    return float(text) * TIME_UNITS[unit]


def _number_ms(text: str) -> float:
    number = float(text)
    guessed = _unit(number)
    at_ms = number * TIME_UNITS[guessed]
    if abs(at_ms) >= LAST_AUTO_MS:
        raise RowUnreadable(
            f"time {text[:40]!r} is beyond the year 2199 in {guessed}: give its --time-unit"
        )
    return at_ms


def _unit(number: float) -> str:
    size = abs(number)
    return "s" if size < 1e11 else "ms" if size < 1e14 else "us" if size < 1e17 else "ns"


def _digits_ms(date: re.Match[str]) -> float:
    """The time of digits that are a date, if they cannot be a number as well."""
    text, (day, hour, minute, second, *fractions) = date[0], date.groups()
    if text == day:
        return _iso_ms(day)
    if second is None:
        raise RowUnreadable(
            f"time {text!r} may be a date or a number: write it with hyphens, or give --time-unit"
        )
    fraction = "".join(filter(None, fractions))
    return _iso_ms(f"{day}T{hour}{minute}{second}.{fraction or '0'}", text)


def _access_ms(found: re.Match[str]) -> float:
    day, month, year, time, zone = found.groups()
    number = _MONTHS.index(month) + 1 if month in _MONTHS else 0
    return _iso_ms(f"{year}-{number:02}-{day}T{time}{zone}", found[0])


def _iso_ms(text: str, written: str = "") -> float:
    """The time of this text; the file may have `written` it in another way."""
    try:
        return _moment_ms(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        found = (written or text)[:40]
        raise RowUnreadable(
            f"time {found!r} is neither a number nor ISO 8601: give its --time-format"
        ) from None


def _formed_ms(text: str, form: str) -> float:
    try:
        return _moment_ms(datetime.strptime(text, form))  # noqa: DTZ007  # `_moment_ms` adds it
    except (ValueError, OverflowError):
        raise RowUnreadable(f"time {text[:40]!r} is not of the form {form!r}") from None


def _moment_ms(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
