"""The commands of the command line, walked."""

from __future__ import annotations

from collections.abc import Iterator

import click
from click.testing import CliRunner

from streams.cli import COMMANDS, cli

RUNS = "runs until stopped, and logs on standard error"
# Commands that have nothing to tell programs, and why.
WITHOUT = {
    **dict.fromkeys(["worker", "sink", "provision", "keda", "gateway", "dashboard"], RUNS),
    **{f"mesh {name}".strip(): RUNS for name in ("", "control", "decide", "activate", "log")},
    **dict.fromkeys(["mesh compose", "mesh envoy"], RUNS),
    "mesh bootstrap": "writes the configuration of an Envoy, which is JSON",
    "produce": "prints nothing but its progress, on standard error",
    "demo": "prints its progress; build/demo/report.json has all figures",
    "completion": "prints a program for a shell",
    "catalog load": "prints nothing but how many entries it sent",
    "catalog infer": "writes a catalogue, which is YAML",
    "catalog schema": "prints JSON Schema, which is JSON",
    "catalog reference": "prints docs/reference/catalog.md, which is Markdown",
}


def commands() -> Iterator[list[str]]:
    """The words of every command and of every command below one."""
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        yield [name]
        if isinstance(command, click.Group):
            yield from ([name, below] for below in command.list_commands(context))


def command_of(words: list[str]) -> click.Command:
    """The command of these words."""
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    return command


def doers() -> Iterator[str]:
    """The words of every command that does something itself, and does not only have others below."""
    for words in commands():
        command = command_of(words)
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield " ".join(words)


def help_of(words: list[str]) -> str:
    """The help of a command, each paragraph on a line."""
    result = CliRunner().invoke(cli, [*words, "--help"], terminal_width=1_000)
    assert result.exit_code == 0, result.output
    return result.output
