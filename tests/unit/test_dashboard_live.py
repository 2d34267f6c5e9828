"""Sections of the live page, of facts that are not there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from streams.dashboard.live import LivePage, Look
from streams.dashboard.sections import PageSection
from streams.records.catalog import Catalog


async def broken(sources: Any, view: Any) -> dict[str, Any]:
    del sources, view
    raise KeyError("nobody foresaw this")


async def rows(query: str, **given: Any) -> list[dict[str, Any]]:
    del query, given
    return [{"now_ms": 1}]


async def test_a_section_that_fails_says_so_in_its_place_and_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sources: Any = SimpleNamespace(catalog=Catalog(), database=SimpleNamespace(rows=rows))
    section = PageSection("pool", "What is warm, and why?", 1.0, broken)

    found = await LivePage(sources).fragment(section, Look(pool="default"))

    assert "What is warm, and why?" in found.html
    assert "nobody foresaw this" in found.html
    assert [said.exc_info is not None for said in caplog.records] == [True]
