"""What is drawn: templates, and how values are written in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from streams.runtime.printable import printable

__all__ = ["UNKNOWN", "prepare", "render", "static_file"]

UNKNOWN = "not known yet"
KINDS: Mapping[str, str] = {
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}


def render(template: str, **values: Any) -> str:
    """A template with its values; text from outside can neither be markup nor hide or turn text."""
    return _environment().get_template(template).render(**values)


def prepare() -> None:
    """Read and compile everything, so that the first page is as fast as the next one."""
    made = _environment()
    for name in made.list_templates():
        made.get_template(name)
    _static()


def static_file(name: str) -> tuple[bytes, str] | None:
    """A file that pages load, and its type; None when there is none of this name."""
    return _static().get(name)


@cache
def _static() -> Mapping[str, tuple[bytes, str]]:
    root = files("streams.dashboard").joinpath("static")
    found = [*root.iterdir(), *root.joinpath("uplot").iterdir()]
    return {
        one.name: (one.read_bytes(), KINDS[kind])
        for one in found
        if one.is_file() and (kind := one.name.rpartition(".")[2]) in KINDS
    }


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("streams.dashboard", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": _number,
        "amount": _amount,
        "percent": _percent,
        "clock": _clock,
        "moment": _moment,
        "duration": _duration,
        "points": _points,
        "share": _share,
    }
    return made


def _harmless(value: Any) -> Any:
    if value is None:
        return UNKNOWN
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _number(value: float | None, digits: int = 0) -> str:
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def _amount(value: float | None) -> str:
    """An amount of money, in the unit of the prices."""
    if value is None:
        return UNKNOWN
    digits = 0 if abs(value) >= 1_000 else 2 if abs(value) >= 0.1 or not value else 4
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _percent(value: float | None, digits: int = 1) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f} %"


def _clock(ms: int | None) -> str:
    """The time of day, UTC."""
    return _at(ms, "%H:%M:%S")


def _moment(ms: int | None) -> str:
    """Day and time, UTC."""
    return _at(ms, "%Y-%m-%d %H:%M:%S")


def _at(ms: int | None, form: str) -> str:
    if ms is None:
        return UNKNOWN
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def _duration(ms: float | None) -> str:
    """A length of time in the largest unit that fits."""
    if ms is None:
        return UNKNOWN
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if ms >= size:
            return f"{ms / size:.3g} {unit}"
    return f"{ms:.0f} ms"


def _share(part: float, whole: float) -> str:
    """A part as a width or height in an SVG."""
    return f"{max(0.0, min(100.0, 100 * part / whole)) if whole else 0.0:.2f}%"


def _points(values: Sequence[float | None], most: float, width: float, height: float) -> str:
    """A line of an SVG: from left to right, the greatest value on top; gaps are left out."""
    step = width / max(1, len(values) - 1)
    return " ".join(
        f"{number * step:.1f},{height - height * min(1.0, value / most):.1f}"
        for number, value in enumerate(values)
        if value is not None and most
    )
