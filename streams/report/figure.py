"""A summary as a figure: hit rate over time, and the latency of each result in every pool."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from streams.report.summary import FlowSummary, LatencySample, PoolSummary
from streams.report.tables import UNKNOWN

__all__ = ["draw"]

BUCKETS = 40  # of equal length, over the time of a pool's requests
COLOURS = {"hit": "#1b7837", "partial": "#c2a01c", "miss": "#b2182b", "refused": "#555555"}


def draw(summary: FlowSummary, suffix: str) -> bytes:
    """Draw the figure as a file of this suffix: .png, .svg or .pdf."""
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    over_time, latency = figure.subplots(1, 2)
    _hit_rate(over_time, summary)
    _latency(latency, summary)
    buffer = BytesIO()
    figure.savefig(buffer, format=suffix[1:], dpi=130)
    return buffer.getvalue()


def _hit_rate(axes: Axes, summary: FlowSummary) -> None:
    for name, pool in summary.pools.items():
        if len(pool.at_ms):
            axes.plot(*_buckets(pool), marker=".", label=name)
    axes.set(title="Hit rate over time", ylabel="requests served warm, %", ylim=(-2, 102))
    axes.tick_params(axis="x", rotation=30)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(title="pool")


def _buckets(pool: PoolSummary) -> tuple[np.ndarray, np.ndarray]:
    """The middle of each time bucket with requests, and their hit rate in %."""
    edges = np.linspace(pool.at_ms[0], pool.at_ms[-1] + 1, BUCKETS + 1)
    bucket = np.digitize(pool.at_ms, edges) - 1
    counts = np.bincount(bucket, minlength=BUCKETS)
    hits = np.bincount(bucket, weights=pool.hit, minlength=BUCKETS)
    seen = np.flatnonzero(counts)
    middle_ms = (edges[seen] + edges[seen + 1]) / 2
    return middle_ms.astype("datetime64[ms]"), 100 * hits[seen] / counts[seen]


def _latency(axes: Axes, summary: FlowSummary) -> None:
    styles = ("-", "--", ":", "-.")
    for i, (name, pool) in enumerate(summary.pools.items()):
        for result, colour in COLOURS.items():
            sample = pool.latency.get(result)
            if sample:
                x, y = _cumulative(sample)
                label = f"{name}: {result} ({len(sample):,})"
                axes.step(x, y, where="post", ls=styles[i % 4], color=colour, label=label)
    axes.set(title="Latency, cumulative", xlabel="ms", ylabel="requests, %", xscale="log")
    axes.grid(alpha=0.3, which="both")
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    elif summary.pools:
        axes.text(0.5, 0.5, UNKNOWN, ha="center", transform=axes.transAxes)


def _cumulative(latency: LatencySample) -> tuple[np.ndarray, np.ndarray]:
    values = np.maximum(latency.sorted_ms, 0.1)  # the axis is logarithmic
    return values, 100 * np.arange(1, len(values) + 1) / len(values)
