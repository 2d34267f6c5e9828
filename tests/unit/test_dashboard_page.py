from __future__ import annotations

import pytest

from streams.dashboard.page import UNKNOWN, render, static_file
from streams.dashboard.sections import SECTIONS

TROUBLE = '<script>alert(1)</script>\u202eexe\x1b[2J" onload="x'


def test_what_comes_from_outside_is_neither_markup_nor_hidden_nor_turned() -> None:
    drawn = render("missing.html", section=SECTIONS["pool"], why=TROUBLE)

    assert "<script>" not in drawn
    assert "\u202e" not in drawn
    assert "\x1b" not in drawn
    assert "\\u202eexe" in drawn
    assert '" onload' not in drawn


def test_a_value_that_is_not_known_is_not_drawn_as_nothing() -> None:
    assert UNKNOWN in render("missing.html", section=SECTIONS["pool"], why=None)


@pytest.mark.parametrize("name", ["page.css", "page.js", "uPlot.iife.min.js", "icon.svg"])
def test_what_the_page_loads_is_there_with_its_type(name: str) -> None:
    found = static_file(name)

    assert found is not None
    assert found[0]
    assert found[1].startswith(("text/", "image/"))


@pytest.mark.parametrize("name", ["LICENSE", "../page.py", "page.py", ""])
def test_nothing_else_is_served(name: str) -> None:
    assert static_file(name) is None
