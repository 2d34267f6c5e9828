"""Options that somebody wrote on the command line, as opposed to defaults and variables."""

from __future__ import annotations

from collections.abc import Callable

import click
from click.core import ParameterSource

__all__ = ["refuse_given"]


def refuse_given(where: str, has_effect: Callable[[str], bool]) -> None:
    """Refuse options that have no effect here; not so variables, which may be there for others.

    Parameters
    ----------
    where
        What takes their effect away, as `--dry-run, which starts no instance`.
    has_effect
        Whether the option with this parameter has one nevertheless.
    """
    context = click.get_current_context()
    for param in context.command.params:
        name = param.name or ""
        told = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if told and not has_effect(name):
            option = max(param.opts, key=len)
            raise click.UsageError(f"{option} has no effect with {where}: leave it out")
