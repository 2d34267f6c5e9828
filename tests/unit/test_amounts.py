"""Numbers on the command line that no process could work with are refused before it starts."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from streams.cli import cli


@pytest.mark.parametrize(
    "words",
    [
        ("gateway", "--deadline-ms", "0"),
        ("gateway", "--queue", "-1"),
        ("mesh", "control", "--deadline-ms", str(10**30)),
        ("mesh", "envoy", "--workers", "0"),
        ("provision", "--keep-alive", "nan"),
        ("replay", "log.csv", "--price", "inf"),
    ],
)
def test_numbers_out_of_all_bounds_are_refused(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, words)

    assert result.exit_code == 2
    assert f"Invalid value for '{words[-2]}'" in result.output
