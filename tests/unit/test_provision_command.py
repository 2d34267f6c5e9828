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
