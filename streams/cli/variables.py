"""Variables that look like settings and are none: one letter off, and the default is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches

import click

from streams.settings import Settings

__all__ = ["misspelt"]

LIKE = 0.8  # how alike two names are at least, for one to be meant by the other


def misspelt(env: Mapping[str, str], root: click.Command, called: str | None) -> Iterator[str]:
    """A sentence for each variable that is nearly one of foremesh, and not one of it.

    Those that resemble none are left alone: anybody may have variables that begin so.

    Parameters
    ----------
    root
        The command line as a whole.
    called
        The command that was called: the only one whose options are known without importing more.
    """
    prefix = Settings.variable("")
    known = {Settings.variable(item.name) for item in fields(Settings)}
    known |= set(_variables(root, prefix.removesuffix("_"), called))
    others = tuple(_below("", name) for name in _names(root) if name != called)
    for name in sorted(env):
        if name in known or not name.startswith(prefix):
            continue
        own, end = [each.removeprefix(prefix) for each in known], name.removeprefix(prefix)
        for meant in get_close_matches(end, own, 1, LIKE):
            # Of other commands all options are not known: only what begins alike is told.
            if not end.startswith(others) or meant.startswith(others):
                yield f"{name} is no setting and has no effect: {prefix}{meant} is meant?"


def _variables(command: click.Command, prefix: str, called: str | None = None) -> Iterator[str]:
    """The variables of a command's options, and of the command called or all below it."""
    for param in command.params:
        given = param.envvar or f"{prefix}_{param.name}".upper()
        yield from [given] if isinstance(given, str) else given
    if isinstance(command, click.Group):
        for name in [called] if called else _names(command):
            if below := command.get_command(click.Context(command), name):
                yield from _variables(below, _below(f"{prefix}_", name).removesuffix("_"))


def _names(command: click.Command) -> list[str]:
    """The commands below one."""
    return command.list_commands(click.Context(command)) if isinstance(command, click.Group) else []


def _below(prefix: str, name: str) -> str:
    """How the variables of a command begin."""
    return f"{prefix}{name}_".upper().replace("-", "_")
