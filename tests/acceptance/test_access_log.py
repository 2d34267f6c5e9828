from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from harness import CHECKOUT

from streams.adapters.logs.formats import FORMATS
from streams.adapters.logs.pattern_rows import ACCESS_LOGS
from streams.cli import cli

BEGAN = datetime(2026, 3, 2, 8, tzinfo=UTC)
TAKING_LOGS = (["produce"], ["replay"], ["compare"], ["evaluate"], ["catalog", "infer"])


@pytest.fixture
def access_log(tmp_path: Path) -> Path:
    """Two users of a shop, as nginx writes it: each pays five minutes after the search."""
    moments = [BEGAN + timedelta(minutes=45 * n) for n in range(40)]
    lines = [
        f"{address} - {user} [{at + timedelta(minutes=wait):%d/%b/%Y:%H:%M:%S %z}]"
        f' "POST /{service}/v1?n=1 HTTP/1.1" 200 512 "-" "curl/8"\n'
        for at in moments
        for address, user in (("10.0.0.1", "ada"), ("10.0.0.2", "-"))
        for wait, service in ((0, "search"), (5, "pay"))
    ]
    path = tmp_path / "access.log"
    path.write_text("".join(lines) + "not a line of it\n")
    return path


def run(*words: str) -> str:
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_what_an_access_log_of_nginx_would_have_cost_is_compared_at_once(
    access_log: Path, tmp_path: Path
) -> None:
    found = tmp_path / "rows.json"
    words = ("--format", "combined", "--policies", "keep-alive,oracle", "--json", str(found))

    said = run("compare", str(access_log), *words)

    assert "access.log: 1 of 161 rows cannot be used, the first is line 161 (not a line" in said
    rows = json.loads(found.read_text())
    assert "keep-alive" in {row["policy"] for row in rows}
    assert all(row["requests"] > 0 for row in rows)


def test_a_first_catalogue_names_the_services_of_an_access_log(access_log: Path) -> None:
    said = run("catalog", "infer", str(access_log), "--service-from", "^/(pay|search)")

    assert "search: [search]" in said
    assert "pay: [pay]" in said
    assert "access.log: 2 services found" in said


def test_where_all_paths_begin_alike_it_says_which_option_tells_services_apart(
    access_log: Path,
) -> None:
    access_log.write_text(access_log.read_text().replace("/v1?", "?").replace(" /", " /api/v1/"))

    said = " ".join(run("catalog", "infer", str(access_log)).split())

    assert "access.log: 1 service found" in said
    assert "--service-from '/api/v\\d+/([^/?#]+)' would give " in said
    assert "pay: [pay]" in run(
        "catalog", "infer", str(access_log), "--service-from", r"/api/v\d+/([^/?#]+)"
    )


@pytest.mark.parametrize("words", TAKING_LOGS, ids=" ".join)
def test_every_command_that_takes_a_log_takes_it_alike(words: list[str]) -> None:
    def options(of: list[str]) -> dict[str, str | None]:
        command: click.Command = cli
        for word in of:
            assert isinstance(command, click.Group)
            found = command.get_command(click.Context(command), word)
            assert found is not None
            command = found
        return {p.opts[0]: p.help for p in command.params if isinstance(p, click.Option)}

    asked = {"--format", "--pattern", "--service-from", "--time-format", "--time-unit", "--user"}
    expected, found = options(["produce"]), options(words)
    assert asked <= found.keys()
    assert {name: found[name] for name in asked} == {name: expected[name] for name in asked}


def test_the_documentation_names_every_format_and_its_columns() -> None:
    text = (CHECKOUT / "docs" / "reference" / "logs.md").read_text()

    columns = {"user"}.union(*(pattern.groupindex for pattern in ACCESS_LOGS.values()))

    assert {name for name in {*FORMATS, *columns} if f"`{name}`" not in text} == set()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--pattern", "("], "'(' is no regular expression: missing )"),
        (["--pattern", "(a)"], "'(a)' names no column: write groups as (?P<user>"),
        (["--pattern", "(?P<user>a)", "--format", "csv"], "leave out --format"),
        (["--service-from", "["], "'[' is no regular expression: unterminated"),
        (["--time-format", "%Q"], "'%Q' is no form of a time: 'Q' is a bad directive"),
        (["--time-format", "%Y %Y"], "'%Y %Y' is no form of a time: redefinition"),
    ],
)
def test_what_is_no_pattern_and_no_form_is_said_before_the_log_is_read(
    words: list[str], sentence: str
) -> None:
    result = CliRunner().invoke(cli, ["catalog", "infer", "none.log", *words])

    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())
