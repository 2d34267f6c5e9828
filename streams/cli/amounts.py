"""Amounts on the command line."""

from __future__ import annotations

import math

import click

__all__ = ["DEADLINE_MS", "QUEUE", "AmountParam"]

DEADLINE_MS = click.IntRange(1, 86_400_000)  # of a request
QUEUE = click.IntRange(0, 100_000)  # requests that wait

MOST = 1e12  # in milliseconds too a whole number that every record can hold


class AmountParam(click.FloatRange):
    """A number in a range, neither infinite nor none: of these records and clocks make nothing."""

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number) or number > MOST:
            self.fail(f"{value!r} is no number up to {MOST:.0f}", param, ctx)
        return number
