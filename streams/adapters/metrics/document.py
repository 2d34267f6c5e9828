"""`docs/reference/metrics.md`, made from the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streams.adapters.metrics.definition import PROCESSES, MetricRow
from streams.adapters.metrics.table import TABLE

__all__ = ["as_json", "markdown"]

_HEAD = """\
# Metrics

Made by `foremesh metrics` from the table in `streams/adapters/metrics/table.py`; tests compare it with
what the processes of a running stack expose, and nothing named `foremesh_*` is exposed besides.

A process serves them at `/metrics` once it has a port: `FOREMESH_METRICS_PORT=9101 foremesh worker`. It
listens on loopback; `FOREMESH_METRICS_HOST` says where else, and whoever reaches that can read them.
`deploy/prometheus` has a configuration with rules and alerts ([what to do](../runbook.md) about each),
`deploy/grafana` dashboards, `deploy/kubernetes/monitoring` a ServiceMonitor for Prometheus' operator.

Counters start at 0 with their process. Units are seconds, bytes, cores, and that of the catalogue's
prices. A label that names things of the catalogue has the first ones it meets, and `other` for all
that come later; no label names a user. Besides these each process exposes what is usual in Python
(`process_*`, `python_*`).
"""


def markdown() -> str:
    """The document: what every process exposes, then a table for each."""
    parts = [_HEAD]
    for title, rows in _sections():
        parts.append(f"\n## {title}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n")
        parts += [f"| `{row.name}` | {row.kind} | {_labels(row)} | {row.about} |\n" for row in rows]
    return "".join(parts)


def as_json() -> list[dict[str, Any]]:
    """Every metric as plain values."""
    return [
        {
            "name": row.name,
            "kind": row.kind,
            "labels": dict(row.labels),
            "processes": list(row.on),
            "meaning": row.about,
        }
        for row in TABLE.rows.values()
    ]


def _sections() -> Iterator[tuple[str, list[MetricRow]]]:
    """By the processes that expose them, those of all first."""
    rows = TABLE.rows.values()
    for on in dict.fromkeys(row.on for row in rows):
        title = (
            "Every process" if on == PROCESSES else ", ".join(f"`foremesh {name}`" for name in on)
        )
        yield title, [row for row in rows if row.on == on]


def _labels(row: MetricRow) -> str:
    said = [
        f"`{name}`: " + (values if isinstance(values, str) else ", ".join(f"`{v}`" for v in values))
        for name, values in row.labels.items()
    ]
    return "; ".join(said)
