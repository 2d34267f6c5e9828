"""A plot of cold starts against warm memory, one line per policy."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO

from matplotlib.figure import Figure

from streams.lab.compare.run import PolicyRow

__all__ = ["draw"]

TITLE = "Cold starts against warm memory"


def draw(rows: Iterable[PolicyRow], suffix: str) -> bytes:
    """Draw the curves as a file of this suffix, .png, .svg, .pdf or .html; the last holds an SVG."""
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
        xlabel="warm memory, GB hours",
        ylabel="requests that waited for a start, %",
        xscale="symlog",
        yscale="symlog",
        title=TITLE,
    )
    axes.legend()
    axes.grid(visible=True, alpha=0.3)
    buffer = BytesIO()
    figure.savefig(buffer, format="svg" if suffix == ".html" else suffix[1:])
    if suffix != ".html":
        return buffer.getvalue()
    svg = buffer.getvalue().decode()
    page = f"<!doctype html><meta charset=utf-8><title>{TITLE}</title>{svg[svg.index('<svg') :]}"
    return page.encode()
