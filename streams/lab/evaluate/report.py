"""The report of an evaluation: tables for the terminal, a PNG of figures, or an HTML page."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table

from streams.lab.evaluate.prequential import TraceEvaluation
from streams.lab.evaluate.scores import reliability
from streams.models.next_request.classifier import NETWORKS

__all__ = ["figure", "rows", "tables", "write"]

WIDTH = 100  # of a title, before it wraps
METRICS = {
    "accuracy_1": "acc@1",
    "recall_3": "rec@3",
    "recall_5": "rec@5",
    "mrr": "MRR",
    "log_loss": "loss",
    "brier": "Brier",
    "ece": "ECE",
}


def tables(evaluations: Mapping[str, TraceEvaluation], *, every: bool = False) -> Iterator[Table]:
    """For each trace the scores of the next service, by slice and model, and of its time.

    Without `every` the models shown beside the mixture are the best single ones by log-loss and
    by accuracy, and the recurrent network unless it is off.
    """
    for trace, evaluation in evaluations.items():
        figures = evaluation.as_json()
        name = "/".join(Path(trace).parts[-2:])
        yield _which(name, figures, every=every)
        if figures["when"]:
            n = figures["when"]["mixture"]["n"]
            yield _compared(f"{name}: when, {n:,} gaps", figures["when"])
        if figures["ahead"]:
            n = figures["ahead"]["next"]["n"]
            title = f"{name}: asked for within the horizon, looked ahead {n:,} times"
            yield _compared(title, figures["ahead"])
        if evaluation.demand:
            yield _compared(f"{name}: {evaluation.demand}", figures["demand"])


def rows(evaluations: Mapping[str, TraceEvaluation]) -> list[dict[str, Any]]:
    """One row for each trace, slice and model; `when`, `ahead` and `demand` are slices too."""
    records: list[dict[str, Any]] = []
    for trace, evaluation in evaluations.items():
        figures = evaluation.as_json()
        costs = ("us_per_event", "state_bytes_median", "state_bytes_max")
        cost = {name: figures[name] for name in costs}
        others = {name: figures[name] for name in ("when", "ahead", "demand") if figures[name]}
        slices = {**figures["slices"], **others}
        records += [
            {"trace": trace, "slice": name, "model": model, **scores, **cost}
            for name, models in slices.items()
            for model, scores in models.items()
        ]
    return records


def write(path: Path, chart: Figure, shown: Iterable[Table]) -> None:
    """Write a figure to a .png, or figure and tables to an .html page."""
    FigureCanvasAgg(chart)
    buffer = io.BytesIO()
    chart.savefig(buffer, format="png", dpi=100)
    if path.suffix.lower() == ".png":
        path.write_bytes(buffer.getvalue())
        return
    image = base64.b64encode(buffer.getvalue()).decode()
    parts = ["<!doctype html><meta charset='utf-8'><title>foremesh evaluate</title>"]
    parts.append("<style>body{font:15px sans-serif;margin:2em}td,th{padding:.2em .7em}</style>")
    parts.append(f"<img alt='' src='data:image/png;base64,{image}'>")
    parts += [_html(table) for table in shown]
    path.write_text("\n".join(parts), encoding="utf-8")


def _which(trace: str, figures: Mapping[str, Any], *, every: bool) -> Table:
    title = (
        f"{trace}: {figures['events']:,} events, {figures['us_per_event']:.0f} µs CPU each,"
        f" state per user {figures['state_bytes_median']:.0f} bytes median,"
        f" {figures['state_bytes_max']:,} most"
    )
    table = Table(title=title, title_justify="left", min_width=min(len(title), WIDTH))
    for name in ("slice", "model", "n", *METRICS.values()):
        table.add_column(name, justify="left" if name in {"slice", "model"} else "right")
    for name, models in figures["slices"].items():
        for model in models if every else _shown(models):
            scores = models[model]
            cells = [f"{scores[metric]:.3f}" for metric in METRICS]
            table.add_row(name, model, f"{scores['n']:,}", *cells)
    return table


def _shown(models: Mapping[str, Mapping[str, float]]) -> list[str]:
    single = [model for model in models if model not in {"mixture", *NETWORKS}]
    best_loss = min(single, key=lambda m: models[m]["log_loss"])
    best_accuracy = max(single, key=lambda m: models[m]["accuracy_1"])
    return list(
        dict.fromkeys(
            ["mixture", best_loss, best_accuracy, *(name for name in NETWORKS if name in models)]
        )
    )


def _compared(title: str, models: Mapping[str, Mapping[str, float]]) -> Table:
    """A row for each score, a column for each model."""
    table = Table(title=title, title_justify="left", min_width=min(len(title), WIDTH))
    for name in ("score", *models):
        table.add_column(name, justify="left" if name == "score" else "right")
    for score in list(next(iter(models.values())))[1:]:
        table.add_row(
            score.replace("_", " "), *(f"{values[score]:.4f}" for values in models.values())
        )
    return table


def figure(evaluations: Mapping[str, TraceEvaluation]) -> Figure:
    """For each trace the reliability of the mixture, and the log-loss of every model."""
    chart = Figure(figsize=(11, 4 * len(evaluations)), layout="constrained")
    axes = chart.subplots(len(evaluations), 2, squeeze=False)
    for (curve, bars), (trace, evaluation) in zip(axes, evaluations.items(), strict=True):
        points = reliability(evaluation.scores, "all", "mixture")
        curve.plot([0, 1], [0, 1], color="0.7")
        curve.plot([p for p, _, _ in points], [hit for _, hit, _ in points], "o-")
        title = f"{Path(trace).name}: reliability"
        curve.set(title=title, xlabel="top probability", ylabel="share of hits")
        models = evaluation.as_json()["slices"].get("all", {})
        order = sorted(models, key=lambda m: -models[m]["log_loss"])
        colours = ["C1" if model == "mixture" else "C0" for model in order]
        bars.barh(order, [models[m]["log_loss"] for m in order], color=colours)
        bars.set(title="log-loss, nats", xlim=(0, None))
    return chart


def _html(table: Table) -> str:
    head = "".join(f"<th>{html.escape(str(column.header))}</th>" for column in table.columns)
    cells = zip(*(column.cells for column in table.columns), strict=True)
    rows = (
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in cells
    )
    title = html.escape(str(table.title))
    return f"<h2>{title}</h2><table><tr>{head}</tr>{''.join(rows)}</table>"
