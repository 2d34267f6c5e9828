"""The curve of cold starts against warm time, one line a policy."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from pathlib import Path

from matplotlib.figure import Figure

from streams.lab.compare.run import PolicyRow

__all__ = ["draw"]

TITLE = "Cold starts against warm memory"


def draw(rows: Iterable[PolicyRow], path: Path) -> None:
    """Draw the curve into a file: PNG, SVG, or HTML that holds the SVG, by its name."""
    curves: dict[str, list[PolicyRow]] = {}
    for row in rows:
        curves.setdefault(row.policy, []).append(row)
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    for policy, points in curves.items():
        points.sort(key=lambda row: row.wasted_gb_s)
        axes.plot(
            [row.wasted_gb_s / 3600 for row in points],
            [100 * row.cold_start_rate for row in points],
            marker="o",
            markersize=4,
            label=policy,
        )
    axes.set(
        xlabel="warm memory not known to be used, GB hours",
        ylabel="requests that waited for a start, %",
        xscale="symlog",
        yscale="symlog",
        title=TITLE,
    )
    axes.legend()
    axes.grid(visible=True, alpha=0.3)
    if path.suffix.lower() not in {".html", ".htm"}:
        figure.savefig(path)
        return
    drawn = StringIO()
    figure.savefig(drawn, format="svg")
    svg = drawn.getvalue()
    page = f"<!doctype html><meta charset=utf-8><title>{TITLE}</title>{svg[svg.index('<svg') :]}"
    path.write_text(page, encoding="utf-8")
