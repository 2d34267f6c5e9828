"""The report of an evaluation: tables for people, a PNG of figures, or an HTML page."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from streams.lab.evaluate.prequential import TraceEvaluation
from streams.lab.evaluate.scores import reliability
from streams.models.next_request.classifier import NETWORKS
from streams.report.text_table import NAME, NUMBER, TextTable

__all__ = ["figure", "page", "picture", "rows", "tables", "tables_of"]

METRICS = {
    "accuracy_1": "acc@1",
    "recall_3": "rec@3",
    "recall_5": "rec@5",
    "mrr": "MRR",
    "log_loss": "loss",
    "brier": "Brier",
    "ece": "ECE",
}
LEGEND = (
    "acc@1: how often the likeliest service was asked for, rec@k: it was among the k likeliest, MRR:"
    " mean of 1/rank; higher is better. loss (of the probability given, in nats), Brier, ECE"
    " (calibration): lower is better."
)
SLICES = {
    "all": "all events",
    "change": "another service than the user's last one",
    "first5": "of users with less than 5 events before",
    "history_5_19": "of users with 5 to 19 events before",
    "history_20_99": "of users with 20 to 99 events before",
    "history_100_up": "of users with 100 or more events before",
}


def tables(
    evaluations: Mapping[str, TraceEvaluation], *, every: bool = False
) -> Iterator[TextTable]:
    """For each trace the scores of the next service, by slice and model, and of its time.

    Without `every` the models shown beside the mixture are the best single ones by log-loss and
    by accuracy, and the recurrent network unless it is off.
    """
    for trace, evaluation in evaluations.items():
        name = "/".join(Path(trace).parts[-2:])
        yield from tables_of(name, evaluation.as_json(), str(evaluation.demand), every=every)


def tables_of(
    name: str, figures: Mapping[str, Any], demand: str = "", *, every: bool = False
) -> Iterator[TextTable]:
    """The tables of one trace; `demand` says of which intervals its errors are."""
    yield from _which(name, figures, every=every)
    if figures["when"]:
        n = figures["when"]["mixture"]["n"]
        yield _compared(f"{name}: when the next request comes, {n:,} gaps", figures["when"])
    if figures["ahead"]:
        n = figures["ahead"]["next"]["n"]
        title = f"{name}: asked for within the horizon, looked ahead {n:,} times"
        yield _compared(title, figures["ahead"])
    if figures["demand"]:
        yield _compared(f"{name}: {demand}", figures["demand"])


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


def picture(chart: Figure) -> bytes:
    """A figure as PNG."""
    FigureCanvasAgg(chart)
    buffer = io.BytesIO()
    chart.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def page(chart: Figure, shown: Iterable[TextTable]) -> bytes:
    """Figure and tables as a page of HTML."""
    image = base64.b64encode(picture(chart)).decode()
    parts = ["<!doctype html><meta charset='utf-8'><title>foremesh evaluate</title>"]
    parts.append("<style>body{font:15px sans-serif;margin:2em}td,th{padding:.2em .7em}</style>")
    parts.append(f"<img alt='' src='data:image/png;base64,{image}'>")
    parts += [_html(table) for table in shown]
    return "\n".join(parts).encode()


def _which(trace: str, figures: Mapping[str, Any], *, every: bool) -> Iterator[TextTable]:
    """A table for each slice of the events; below the last one what the scores mean."""
    yield TextTable(
        title=f"{trace}: {figures['events']:,} events",
        columns={"CPU us/event": NUMBER, "bytes/user": NUMBER, "most": NUMBER},
        rows=[
            (
                f"{figures['us_per_event']:.0f}",
                f"{figures['state_bytes_median']:,.0f}",
                f"{figures['state_bytes_max']:,}",
            )
        ],
        legend="Bytes: the state of a user, of half of them no more than the first figure.",
    )
    *_, last = figures["slices"] or [""]
    for name, models in figures["slices"].items():
        n = next(iter(models.values()))["n"]
        yield TextTable(
            title=f"{trace}: {SLICES.get(name, name)}: {n:,}",
            columns={"model": NAME, **dict.fromkeys(METRICS.values(), NUMBER)},
            rows=[
                (model, *(f"{models[model][metric]:.3f}" for metric in METRICS))
                for model in (models if every else _shown(models))
            ],
            legend=_conclusion(models) + (f"\n{LEGEND}" if name == last else ""),
        )


def _conclusion(models: Mapping[str, Mapping[str, float]]) -> str:
    best = min(models, key=lambda model: models[model]["log_loss"])
    return f"Least log-loss: {best}."


def _shown(models: Mapping[str, Mapping[str, float]]) -> list[str]:
    single = [model for model in models if model not in {"mixture", *NETWORKS}]
    best_loss = min(single, key=lambda m: models[m]["log_loss"])
    best_accuracy = max(single, key=lambda m: models[m]["accuracy_1"])
    return list(
        dict.fromkeys(
            ["mixture", best_loss, best_accuracy, *(name for name in NETWORKS if name in models)]
        )
    )


def _compared(title: str, models: Mapping[str, Mapping[str, float]]) -> TextTable:
    """A row for each score, a column for each model."""
    scores = list(next(iter(models.values())))[1:]
    return TextTable(
        title=title,
        columns={"score": NAME, **dict.fromkeys(models, NUMBER)},
        rows=[
            (score.replace("_", " "), *(f"{values[score]:.4f}" for values in models.values()))
            for score in scores
        ],
        legend="Errors: lower is better. "
        + "; ".join(f"{score.replace('_', ' ')}: {_least(models, score)}" for score in scores)
        + ".",
    )


def _least(models: Mapping[str, Mapping[str, float]], score: str) -> str:
    return f"best is {min(models, key=lambda model: models[model][score])}"


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


def _html(table: TextTable) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
    rows = (
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    said = f"<p>{html.escape(table.legend)}</p>"
    return f"<h2>{html.escape(table.title)}</h2><table><tr>{head}</tr>{''.join(rows)}</table>{said}"
