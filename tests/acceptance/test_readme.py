from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from harness import CHECKOUT

from streams.cli import cli

README = CHECKOUT / "README.md"
DOCUMENTS = sorted([README, *(CHECKOUT / "docs").rglob("*.md")])
VARIABLE = re.compile(r"^[A-Z_]+=\S+$")


def lines_of(document: Path) -> list[str]:
    """The lines of the shell blocks, without comments and redirections, continued ones joined."""
    blocks = re.findall(
        r"^```(?:sh|shell|bash|console)\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL
    )
    text = "".join(blocks).replace("\\\n", " ")
    lines = [re.sub(r"(^|\s)#.*|\s>\s*\S+", "", line).strip() for line in text.splitlines()]
    return [part.strip() for line in lines for part in re.split(r"&&|\||;", line) if part.strip()]


def calls(tool: str) -> list[str]:
    found = []
    for document in DOCUMENTS:
        for line in lines_of(document):
            words = line.removeprefix("$ ").split()
            while words and VARIABLE.match(words[0]):
                words = words[1:]
            if words and words[0].rsplit("/", 1)[-1] == tool:
                found.append(" ".join(words[1:]))
    return found


def targets() -> set[str]:
    return set(re.findall(r"^([\w.-]+):(?!=)", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("line", calls("foremesh"))
def test_a_command_that_the_readme_names_exists_and_its_options_parse(line: str) -> None:
    words = shlex.split(line)
    context = click.Context(cli, info_name="foremesh", resilient_parsing=False)
    command: click.Command = cli
    parser_words = words
    while isinstance(command, click.Group) and parser_words:
        name, below, parser_words = command.resolve_command(context, parser_words)
        assert below is not None, name
        command = below
    if "--help" not in parser_words:
        command.make_context(command.name, list(parser_words), parent=context)


@pytest.mark.parametrize("line", calls("make"))
def test_a_target_that_the_readme_names_exists(line: str) -> None:
    wanted = {word for word in line.split() if "=" not in word and not word.startswith("-")}
    assert wanted <= targets()


def test_the_readme_begins_with_the_two_commands() -> None:
    assert calls("make")[:2] == ["demo", "test"]
    assert "catalog load catalog.yaml" in calls("foremesh")
