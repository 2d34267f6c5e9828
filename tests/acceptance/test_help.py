from __future__ import annotations

import re

import click
import pytest
from commands import command_of, commands, help_of

from streams.cli import COMMANDS, EXIT_CODES

ALL = list(commands())


def options_of(words: list[str]) -> list[click.Option]:
    command = command_of(words)
    return [p for p in command.params if isinstance(p, click.Option) and p.name != "version"]


def test_help_lists_every_command_and_every_setting() -> None:
    text = help_of([])
    for name in COMMANDS:
        assert f"\n  {name} " in text
    for name in ("FOREMESH_KAFKA", "FOREMESH_POSTGRES", "FOREMESH_KAFKA_SASL_MECHANISM"):
        assert name in text


def test_help_says_what_each_exit_code_means() -> None:
    text = help_of([])
    for code, meaning in EXIT_CODES.items():
        assert re.search(rf"^  {code} +{re.escape(meaning)}$", text, re.MULTILINE)


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
