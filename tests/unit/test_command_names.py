"""Commands as people type them."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from streams.cli import cli


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("catalouge", "No such command 'catalouge'. Did you mean 'catalog'?"),
        ("dead-leters", "No such command 'dead-leters'. Did you mean 'dead-letters'?"),
        ("dead-letters lst", "No such command 'lst'. Did you mean 'list'?"),
        ("mesh actvate", "No such command 'actvate'. Did you mean 'activate'?"),
        ("zzz", "No such command 'zzz'."),
    ],
)
def test_a_mistyped_command_is_told_with_the_one_that_is_meant(typed: str, said: str) -> None:
    result = CliRunner().invoke(cli, [*typed.split(), "list"])

    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == f"Error: {said}"
