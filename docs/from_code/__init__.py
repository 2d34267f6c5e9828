"""Sphinx: what these pages say of settings, commands, topics, schemas, tables and types is the code's.

A block ```` ```{from-code} settings ```` in a page is replaced by what `PARTS` makes of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from from_code.drawing import svg
from from_code.library import records
from from_code.parts import commands, exit_codes, schemas, settings, topics
from from_code.tables import tables

PARTS: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "commands": commands,
    "exit-codes": exit_codes,
    "topics": topics,
    "schemas": schemas,
    "tables": tables,
    "records": records,
}


class FromCode(SphinxDirective):
    """A part of a page, made as Markdown."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """What the part of that name says."""
        (name,) = self.content
        return self.parse_text_to_nodes(PARTS[name](), allow_section_headings=True)


class Flow(SphinxDirective):
    """The picture of the flow; where pages are read as they are, Mermaid draws the block."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The drawing of the topology."""
        return [nodes.raw("", svg(), format="html")]


def setup(app: Sphinx) -> Mapping[str, bool]:
    """Register both."""
    app.add_directive("from-code", FromCode)
    app.add_directive("mermaid", Flow)
    return {"parallel_read_safe": True}
