"""What commands print: all of it passes here, so that nothing from outside steers a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
from rich.console import Console, ConsoleOptions
from rich.segment import Segment

from streams.runtime.printable import printable

__all__ = ["PrintableConsole", "echo", "output_option"]

F = TypeVar("F", bound=Callable[..., Any])


class PrintableConsole(Console):
    """A console that shows harmful characters of what it prints as escapes."""

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable; those that control the terminal are Rich's own."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else printable(segment.text)
            yield Segment(text, segment.style, segment.control)


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text, harmful characters as escapes."""
    click.echo(printable(text), err=err, nl=nl)


def output_option(about: str, usual: str, *others: str) -> Callable[[F], F]:
    """The option `--output` of a command: the usual form, or another one."""
    return click.option(
        "--output",
        type=click.Choice([usual, *others]),
        default=usual,
        show_default=True,
        show_envvar=True,
        help=about,
    )
