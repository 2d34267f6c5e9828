"""`make docs`: pages without a warning, that need nothing from elsewhere, and say all that there is."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from html import unescape
from pathlib import Path

import pytest
from commands import commands
from harness import CHECKOUT

import foremesh
from streams.adapters.metrics.table import TABLE
from streams.adapters.postgres.tables import TABLES
from streams.catalog.fields import SECTIONS
from streams.flow.topology import TOPICS, TOPOLOGY
from streams.settings import Settings

TAG = re.compile(r"<[^>]+>")
LOADED = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href|srcset)="([^"]+)""")
OF_STYLE = re.compile(r"""(?:@import|url\()\s*["']?(https?:)?//""")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pages; built as `make docs` does, any warning an error."""
    folder = tmp_path_factory.mktemp("pages")
    options = ["-q", "-W", "--keep-going", "-d", str(folder / "read")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, "docs", str(folder / "html")],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def missing(page: Path, names: Iterable[str]) -> list[str]:
    text = unescape(TAG.sub("", page.read_text()))
    return [name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)]


def test_pages_load_nothing_from_elsewhere(pages: Path) -> None:
    texts = [path.read_text() for path in pages.rglob("*.html")]

    assert len(texts) > 20
    assert [url for text in texts for url in LOADED.findall(text) if "//" in url] == []
    styles = [path.name for path in pages.rglob("*.css") if OF_STYLE.search(path.read_text())]
    assert styles == []


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("settings", list(map(Settings.variable, Settings.__dataclass_fields__))),
        ("commands", [f"foremesh {' '.join(words)}" for words in commands()]),
        ("topics", [*TOPICS, *TOPOLOGY.schemas]),
        ("tables", [table.name for table in TABLES]),
        ("metrics", list(TABLE.rows)),
        ("catalog", [key for keys in SECTIONS.values() for key in keys]),
        ("api", [name for name in foremesh.__all__ if name != "Record"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_reference_has_all_that_the_code_has(pages: Path, page: str, names: list[str]) -> None:
    assert names
    assert missing(pages / "reference" / f"{page}.html", names) == []
