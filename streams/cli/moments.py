"""Times on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

import click

__all__ = ["MomentParam"]

MOST_DIGITS = 15  # of ms since the epoch: beyond the year 9999


class MomentParam(click.ParamType):
    """A time as ISO 8601 (UTC unless it says otherwise) or in ms since the epoch; in ms."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Milliseconds since the epoch."""
        text = str(value)
        if text.isdecimal() and len(text) <= MOST_DIGITS:
            return int(text)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            known = "2026-01-31, 2026-01-31T12:00:00+01:00, 1769860800000"
            self.fail(f"{text!r} is none of {known}", param, ctx)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)
