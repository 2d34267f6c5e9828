"""`foremesh status`: which servers of the local stack run, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from streams.cli import pass_settings
from streams.cli.output import json_option, tell
from streams.devstack import LocalStack
from streams.devstack.elsewhere import builds_elsewhere
from streams.report.text_table import NUMBER, WHOLE, TextTable
from streams.settings import Settings

__all__ = ["ServerState", "command", "table_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """A server of the local stack as it is found."""

    server: str
    pid: int | None  # none: it does not run
    address: str  # as a setting has it; empty unless the whole stack runs
    log: str

    @property
    def place(self) -> str:
        """Host and port."""
        return self.address.rpartition("@")[2].partition("/")[0]


@click.command()
@json_option("a list of server, pid (null: it does not run), address, log")
@click.pass_context
@pass_settings
def command(settings: Settings, ctx: click.Context, output: str) -> None:
    """Show which servers of the local stack run, and where; exit code 1 when one does not."""
    build = Path(settings.build)
    found = states(LocalStack(build))
    hints = [
        f"It is the one in {(build / 'stack').absolute()}.",
        *(
            f"Another runs: FOREMESH_BUILD={other} foremesh status"
            for other in _others(found, build)
        ),
    ]
    tell(output, [asdict(state) for state in found], table_of(found), *hints)
    ctx.exit(0 if all(state.pid for state in found) else 1)


def _others(found: Sequence[ServerState], build: Path) -> list[Path]:
    """Stacks that may be meant where a part of this one does not run."""
    return [] if all(state.pid for state in found) else builds_elsewhere(build)


def states(stack: LocalStack) -> list[ServerState]:
    """The servers of a stack as they are found."""
    env = stack.env() if all(child.pid for child in stack.children) else {}
    return [
        ServerState(server=child.name, pid=child.pid, address=address, log=str(child.log))
        for child, address in zip(stack.children, [*env.values(), "", ""], strict=False)
    ]


def table_of(found: Sequence[ServerState]) -> TextTable:
    """The servers for people, and what follows."""
    running = sum(state.pid is not None for state in found)
    said = {
        len(found): "All of it runs; `foremesh up` prints its variables, `foremesh down` stops it.",
        0: "Nothing of it runs: start it with `foremesh up`.",
    }
    return TextTable(
        columns={"server": WHOLE, "pid": NUMBER, "address": WHOLE, "state": WHOLE},
        rows=[
            (s.server, str(s.pid or ""), s.place, "runs" if s.pid else "does not run")
            for s in found
        ],
        legend=said.get(running, "A part of it runs: `foremesh up` starts the rest."),
    )
