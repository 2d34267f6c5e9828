"""Every command tells programs what it tells people, in the same place, or says why it does not."""

from __future__ import annotations

import json
import math

import click
import pytest
from click.testing import CliRunner
from commands import WITHOUT, command_of, doers, help_of

from streams.cli.output import json_option, tell
from streams.report.text_table import NAME, TextTable

DOERS = list(doers())
TELLING = [words for words in DOERS if words not in WITHOUT]


def output_of(words: str) -> click.Option | None:
    options = [p for p in command_of(words.split()).params if isinstance(p, click.Option)]
    return next((option for option in options if option.name == "output"), None)


def test_what_is_excused_is_a_command() -> None:
    assert set(WITHOUT) <= set(DOERS)


@pytest.mark.parametrize("words", TELLING)
def test_a_command_has_the_option_with_its_keys_in_the_help(words: str) -> None:
    option = output_of(words)
    assert option is not None, "give it @json_option, or a reason in WITHOUT"
    assert option.opts == ["--output"]
    assert isinstance(option.type, click.Choice)
    assert tuple(option.type.choices)[:2] == ("text", "json")
    assert option.default == "text"
    assert "Text for people, or one JSON document: " in help_of(words.split())


def told(output: str) -> str:
    table = TextTable(columns={"user": NAME}, rows=[("ann",)], legend="One user.")

    @click.command()
    @json_option("user, rate")
    def command(output: str) -> None:
        tell(output, {"user": "ann", "rate": math.nan}, table, "a sentence")

    return CliRunner().invoke(command, ["--output", output]).stdout


def test_programs_get_one_document_without_what_json_has_not() -> None:
    assert json.loads(told("json")) == {"user": "ann", "rate": None}


def test_people_get_the_tables_and_sentences() -> None:
    assert [line.strip() for line in told("text").splitlines() if line.strip("─ ")] == [
        "user",
        "ann",
        "One user.",
        "a sentence",
    ]
