"""Regular expressions and forms of times on the command line."""

from __future__ import annotations

import re
from datetime import datetime

import click

__all__ = ["RegexParam", "TimeFormatParam"]


class RegexParam(click.ParamType):
    """A regular expression of Python; with `groups`, one that has named groups."""

    name = "regex"

    def __init__(self, *, groups: bool = False) -> None:
        self.groups = groups

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> re.Pattern[str]:
        """The compiled expression."""
        try:
            found = re.compile(str(value))
        except (re.error, OverflowError, RecursionError) as error:
            self.fail(f"{value!r} is no regular expression: {error}", param, ctx)
        if self.groups and not found.groupindex:
            self.fail(f"{value!r} names no column: write groups as (?P<user>\\S+)", param, ctx)
        return found


class TimeFormatParam(click.ParamType):
    """A form of times, as `datetime.strptime` has it."""

    name = "form"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """The form, if it is one."""
        text = str(value)
        try:
            datetime.strptime("", text)  # noqa: DTZ007  # no time is made
        except (ValueError, re.error) as error:
            if not str(error).startswith("time data"):  # it is a form, if not of nothing
                self.fail(f"{text!r} is no form of a time: {error}", param, ctx)
        return text
