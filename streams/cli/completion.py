"""`foremesh completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from streams.cli.console import echo
from streams.errors import ToolMissing

__all__ = ["command"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print what completes commands, options and their values in SHELL.

    bash (4.4 or later): eval "$(foremesh completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc;
    fish: foremesh completion fish > ~/.config/fish/completions/foremesh.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    try:
        echo(kind(ctx.find_root().command, {}, "foremesh", "_FOREMESH_COMPLETE").source())
    except RuntimeError as error:  # click asks bash for its version
        raise ToolMissing(f"{shell} cannot be completed: {error}") from error
