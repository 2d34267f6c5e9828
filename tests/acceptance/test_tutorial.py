from __future__ import annotations

from pathlib import Path

import pytest
from documents import Reader, printed, script
from harness import CHECKOUT, Running

TUTORIAL = CHECKOUT / "docs" / "tutorial.md"
COMPARISON = CHECKOUT / "docs" / "comparison.md"  # shows rows that the tutorial prints


@pytest.mark.timeout(600)
def test_the_tutorial_is_followed_from_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "kafka").symlink_to(CHECKOUT / "build" / "kafka")  # fetched before
    folder = {"FOREMESH_BUILD": str(tmp_path / "build")}
    (tmp_path / "page").mkdir()
    reader = Reader(tmp_path / "page", folder)

    try:
        said = reader.follow(script(TUTORIAL))
    finally:
        codes = reader.stop()
        Running(("down",), folder, tmp_path / "down.log").finish()

    assert codes == {"worker": 0, "sink": 0}, reader.logs()
    shown = [*printed(TUTORIAL), *printed(COMPARISON)]
    assert len(shown) > 10
    assert [line for line in shown if line not in said] == []
    assert "user1" in said.partition("foremesh predict")[2]
