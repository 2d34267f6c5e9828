from __future__ import annotations

import pytest
from click.testing import CliRunner

from streams.cli.provision import command
from streams.settings import Settings


@pytest.mark.parametrize("where", ["local", "kubernetes"])
@pytest.mark.parametrize("option", [("--keep-alive", "5"), ("--limit", "cpu"), ("--starts", "1")])
def test_a_dry_run_refuses_what_is_about_instances_that_run(
    where: str, option: tuple[str, str]
) -> None:
    asked = ["--dry-run", "--on", where, *option]

    result = CliRunner().invoke(command, asked, obj=Settings(kafka="127.0.0.1:1"))

    assert result.exit_code == 2
    assert f"{option[0]} has no effect with --dry-run" in result.output


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--dry-run", "--pool", "a"), "--pool has no effect with --dry-run, which plans every"),
        (("--namespace", "a"), "--namespace has no effect with --on local"),
        (("--take-over",), "--take-over has no effect with --on local"),
        (("--on", "kubernetes", "--limit", "cpu"), "--limit has no effect with --on kubernetes"),
        (("--on", "kubernetes", "--pass-env", "A"), "--pass-env has no effect with --on kub"),
    ],
)
def test_what_is_about_other_instances_is_refused(given: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(command, given, obj=Settings(kafka="127.0.0.1:1"))

    assert result.exit_code == 2
    assert said in result.output
