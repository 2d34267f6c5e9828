"""The flow as a drawing in SVG: a line is a topic, a column is a stage."""

from __future__ import annotations

from collections.abc import Iterator

from streams.flow.declaration import StageRow
from streams.flow.topology import TOPOLOGY

LEFT, TOP, ACROSS, DOWN, R = 110, 60, 92, 26, 5
STYLE = "font:13px sans-serif;fill:currentColor;stroke:none"


def svg() -> str:
    """Topics as lines, stages as columns; what a stage reads is open, what it writes filled."""
    stages, topics = list(TOPOLOGY.stages.values()), list(TOPOLOGY.topics)
    wide, high = LEFT + ACROSS * len(stages), TOP + DOWN * len(topics)
    drawn = [f'<line x1="{LEFT}" x2="{wide - 30}" y1="{_y(n)}" y2="{_y(n)}" opacity=".3"/>'
             f'<text x="{LEFT - 10}" y="{_y(n) + 4}" text-anchor="end" style="{STYLE}">{name}</text>'
             for n, name in enumerate(topics)]  # fmt: skip
    for column, stage in enumerate(stages):
        drawn += _column(LEFT + ACROSS * column + 30, stage, topics)
    return (
        f'<figure><svg role="img" aria-label="The flow" viewBox="0 0 {wide} {high}"'
        f' style="max-width:{wide}px;width:100%" fill="none" stroke="currentColor">'
        f"{''.join(drawn)}</svg><figcaption>A column is a stage, a line a topic. Open: the stage"
        " reads it; dashed: it holds it whole; filled: it writes it. What it cannot use goes to dead-letters.</figcaption></figure>"
    )


def _y(row: int) -> int:
    return TOP + DOWN * row


def _column(x: int, stage: StageRow, topics: list[str]) -> Iterator[str]:
    rows = [topics.index(name) for name in (*stage.reads, *stage.views, *stage.writes)]
    yield f'<text x="{x}" y="24" text-anchor="middle" style="{STYLE};font-weight:bold">{stage.name}</text>'
    yield f'<line x1="{x}" x2="{x}" y1="{_y(min(rows))}" y2="{_y(max(rows))}"/>'
    for names, look in (
        (stage.reads, 'fill="var(--color-background-primary,white)"'),
        (stage.views, 'fill="var(--color-background-primary,white)" stroke-dasharray="2 2"'),
        (stage.writes, 'fill="currentColor"'),
    ):
        yield from (
            f'<circle cx="{x}" cy="{_y(topics.index(name))}" r="{R}" {look}/>' for name in names
        )
