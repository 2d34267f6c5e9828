from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from streams.cli import COMMANDS, cli


def commands() -> Iterator[list[str]]:
    """The words of every command and of every command below one."""
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        yield [name]
        if isinstance(command, click.Group):
            yield from ([name, below] for below in command.list_commands(context))


ALL = list(commands())


def help_of(words: list[str]) -> str:
    result = CliRunner().invoke(cli, [*words, "--help"], terminal_width=1_000)
    assert result.exit_code == 0, result.output
    return result.output


def options_of(words: list[str]) -> list[click.Option]:
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    return [p for p in command.params if isinstance(p, click.Option) and p.name != "version"]


def test_help_lists_every_command_and_every_setting() -> None:
    text = help_of([])
    for name in COMMANDS:
        assert f"\n  {name} " in text
    for name in ("FOREMESH_KAFKA", "FOREMESH_POSTGRES", "FOREMESH_KAFKA_SASL_MECHANISM"):
        assert name in text


@pytest.mark.parametrize("words", [[], *ALL], ids=" ".join)
def test_every_option_shows_its_environment_variable(words: list[str]) -> None:
    text = help_of(words)
    prefix = "_".join(["FOREMESH", *words]).upper().replace("-", "_")
    for option in options_of(words):
        variable = option.envvar or f"{prefix}_{(option.name or '').upper()}"
        assert f"env var: {variable}" in text, option.opts


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_says_what_it_does_in_a_sentence(words: list[str]) -> None:
    sentence = help_of(words).split("\n\n")[1].strip()
    assert sentence[0].isupper()
    assert sentence.endswith(".")
