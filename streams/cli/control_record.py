"""Control records of pools for commands: who says what and why, and that it is in force."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from streams.cli.console import echo
from streams.pipeline.operator_word import OperatorWord, in_force, publish
from streams.records.control import Control
from streams.settings import Settings

__all__ = ["OperatorWord", "change", "in_force", "word_options"]


def word_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options --reason and --by, given to the command as its `word`."""

    @click.option(
        "--reason", default="", show_envvar=True, help="Reason for the change, kept with it."
    )
    @click.option("--by", show_envvar=True, help="Who wants it.  [default: the user that runs it]")
    @wraps(command)
    def with_word(*args: Any, reason: str, by: str | None, **given: Any) -> None:
        command(*args, word=OperatorWord(by=by or _user(), reason=reason), **given)

    return with_word


def change(
    settings: Settings, pool: str, word: OperatorWord, changed: Callable[[Control], Control]
) -> None:
    """Publish the control record of a pool with a change made to it.

    Raises
    ------
    BrokerUnreachable, TopicsMissing, DeliveryFailed
        It is not known to be in force; publishing it again is safe.
    """
    new = publish(settings, pool, word, changed)
    echo(f"{pool}: {new.mode.value}{', paused' if new.paused else ''}, in force")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return ""
