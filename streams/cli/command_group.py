"""A group of commands that tells what a mistyped one may mean."""

from __future__ import annotations

from difflib import get_close_matches

import click

__all__ = ["CommandGroup"]


class CommandGroup(click.Group):
    """A group whose error for a word that is no command names the nearest that is one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the words begin with."""
        names = self.list_commands(ctx)
        meant = get_close_matches(args[0], names, 1)
        if args[0] not in names and meant and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}. Did you mean {meant[0]!r}?")
        return super().resolve_command(ctx, args)
