from __future__ import annotations

import pytest
from click.testing import CliRunner

from streams.cli.demo import command
from streams.settings import Settings


@pytest.mark.parametrize(
    ("option", "amount"),
    [("--users", "0"), ("--styles", "0"), ("--past", "-1"), ("--seconds", "0")],
)
def test_a_demo_of_nothing_is_refused(
    option: str, amount: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.demo.run.DemoRun.run", lambda _: None)

    result = CliRunner().invoke(command, [option, amount], obj=Settings())

    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.output
