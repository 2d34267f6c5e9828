"""Durations on the command line."""

from __future__ import annotations

import re

import click

__all__ = ["DurationParam"]

UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class DurationParam(click.ParamType):
    """A duration as `90s`, `15m`, `2h` or `7d`; in ms."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Milliseconds."""
        found = re.fullmatch(r"(\d{1,9})([smhd])", str(value))
        if found is None:
            self.fail(f"{value!r} is none of 90s, 15m, 2h, 7d", param, ctx)
        return int(found[1]) * UNITS_MS[found[2]]
