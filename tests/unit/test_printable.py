from __future__ import annotations

import ast
import io
import json
import logging
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text
from source import NAMES, trees

from streams.cli.console import PrintableConsole, echo
from streams.runtime.printable import PrintableFormatter, printable

STEERING = {"Cc", "Cs", "Zl", "Zp"}  # categories
TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # kinds of direction

evil = st.text(st.characters(), max_size=40) | st.text(
    st.sampled_from("a\x1b[31m\x07\r\b\x9b\u202e\u2066\u200f\u2028\ufeff\ud800\U000e0041\n\té界"),
    max_size=40,
)


def harmful(text: str) -> list[str]:
    return [
        character
        for character in text
        if character not in "\n\t"
        if unicodedata.category(character) in STEERING
        or unicodedata.bidirectional(character) in TURNING
        or character in "\u200e\u200f\u061c"
    ]


@given(evil)
def test_nothing_harmful_is_left_of_any_text(text: str) -> None:
    assert harmful(printable(text)) == []


@given(evil)
def test_what_is_printable_stays_as_it_is(text: str) -> None:
    assert printable(printable(text)) == printable(text)
    assert printable("naïve 界 ✓ مرحبا\n\t") == "naïve 界 ✓ مرحبا\n\t"


@given(evil)
def test_json_means_the_same(text: str) -> None:
    assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == text


@given(evil)
def test_a_log_record_is_one_harmless_line(text: str) -> None:
    record = logging.LogRecord("n", logging.INFO, "p", 1, "said %s", (text,), None)

    line = PrintableFormatter("%(levelname)s %(message)s").format(record)

    assert harmful(line) == []
    assert "\n" not in line


def test_the_traceback_of_a_log_record_is_harmless() -> None:
    error = ValueError("\x1b[2J")
    raised = (ValueError, error, None)
    record = logging.LogRecord("n", logging.ERROR, "p", 1, "m", (), raised)

    assert harmful(PrintableFormatter("%(message)s").format(record)) == []


@given(evil)
def test_a_console_shows_cells_and_text_without_harm(text: str) -> None:
    written = io.StringIO()
    console = PrintableConsole(file=written, width=400)
    table = Table("what", title=Text(text))
    table.add_row(Text(text))

    console.print(table)
    console.print(Text(text))

    assert harmful(written.getvalue()) == []


def test_a_terminal_still_gets_the_colours_of_rich() -> None:
    written = io.StringIO()

    PrintableConsole(file=written, force_terminal=True).print(Text("a\x1b[2J", "red"))

    assert written.getvalue() == "\x1b[31ma\\u001b[2J\x1b[0m\n"


def test_what_a_command_says_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    echo("user \x1b]0;owned\x07")

    assert capsys.readouterr().out == "user \\u001b]0;owned\\u0007\n"


def test_every_command_prints_through_the_one_place() -> None:
    others = [
        name
        for path, name in NAMES.items()
        if name.startswith("streams.cli") and name != "streams.cli.console"
        for node in ast.walk(trees()[path])
        if isinstance(node, ast.Call)
        if ast.unparse(node.func) in {"click.echo", "click.secho", "Console", "print"}
    ]

    assert others == []
