"""foremesh beside every published method: tables, a figure, and rows for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from streams.lab.evaluate.published import DAY_MS, FoldScore, Methods
from streams.report.text_table import NAME, NUMBER, TextTable

__all__ = [
    "BATCH",
    "NETWORK",
    "OURS",
    "LogComparison",
    "figure",
    "rows",
    "summaries",
    "tables",
    "verdict",
]

OURS = "foremesh"  # the models that a worker runs
NETWORK = "foremesh, with network"  # with FOREMESH_RNN=on
BATCH = "log-linear, batch-trained"  # of the laboratory; no worker runs it
BASE = "Tax"  # the LSTM that the other methods compare with


@dataclass(frozen=True, slots=True, kw_only=True)
class LogComparison:
    """The scores of foremesh and of the published methods on one log."""

    ours: Sequence[FoldScore]
    network: Sequence[FoldScore]
    batch: Sequence[FoldScore]
    accuracy: Methods
    mae_days: Methods

    def accuracies(self) -> dict[str, float]:
        """Mean accuracy in per cent by method, ours first."""
        made = {name: 100 * _mean([f.accuracy for f in found]) for name, found in self._made()}
        return made | {m: 100 * _mean([*v.values()]) for m, v in self.accuracy.items()}

    def errors(self) -> dict[str, float]:
        """Mean error of the next timestamp in days, ours first; empty for a log without times.

        A published error below a millisecond is below the resolution of the log.
        """
        published = {m: _mean([*v.values()]) for m, v in self.mae_days.items()}
        if not published or max(published.values()) * DAY_MS < 1:
            return {}
        made = {name: _mean([f.mae_days for f in found]) for name, found in self._made()}
        return made | published

    def _made(self) -> tuple[tuple[str, Sequence[FoldScore]], ...]:
        return (OURS, self.ours), (NETWORK, self.network), (BATCH, self.batch)


def tables(comparisons: Mapping[str, LogComparison]) -> Iterator[TextTable]:
    """Every method on every log, for a page: a row for each log, a column for each method."""
    for title, by_log, best, digits in _measures(comparisons):
        methods = list(dict.fromkeys(method for values in by_log.values() for method in values))
        yield TextTable(
            title=f"{title} (mean of the folds)",
            columns={"log": NAME, **dict.fromkeys((m.replace("_", " ") for m in methods), NUMBER)},
            rows=[
                (log, *_cells(values, methods, best(values, key=values.__getitem__), digits))
                for log, values in by_log.items()
            ],
            legend="* The best of the log.",
        )


def summaries(comparisons: Mapping[str, LogComparison]) -> Iterator[TextTable]:
    """Ours and the best published method on every log, for a terminal."""
    for title, by_log, best, digits in _measures(comparisons):
        yield TextTable(
            title=f"{title} (mean of the folds)",
            columns={
                "log": NAME,
                **dict.fromkeys((OURS, "+network", "batch", BASE), NUMBER),
                "best": NUMBER,
                "published": NAME,
            },
            rows=[_summary(log, values, best, digits) for log, values in by_log.items()],
            legend=f"+network: {OURS} with FOREMESH_RNN=on; batch: {BATCH}, which no worker runs;"
            f" {BASE}: the network that the others compare with; then the best that was published."
            f" * The best of all. --json and --report have every method.",
        )


def _measures(
    comparisons: Mapping[str, LogComparison],
) -> Iterator[tuple[str, Mapping[str, Mapping[str, float]], Callable[..., str], int]]:
    """What is measured: its title, values by log and method, which value is best, digits."""
    accuracies = {log: comparison.accuracies() for log, comparison in comparisons.items()}
    yield "Accuracy of the next event, %", accuracies, max, 2
    errors = {log: comparison.errors() for log, comparison in comparisons.items()}
    timed = {log: methods for log, methods in errors.items() if methods}
    if timed:
        yield "Mean absolute error of the next timestamp, days", timed, min, 3


def _summary(
    log: str, values: Mapping[str, float], best: Callable[..., str], digits: int
) -> tuple[str, ...]:
    published = {m: v for m, v in values.items() if m not in {OURS, NETWORK, BATCH}}
    first = best(published, key=published.__getitem__) if published else ""
    shown = (OURS, NETWORK, BATCH, BASE, first)
    cells = _cells(values, shown, best(values, key=values.__getitem__), digits)
    return (log, *cells, first.replace("_", " "))


def _cells(
    values: Mapping[str, float], methods: Iterable[str], winner: str, digits: int
) -> Iterator[str]:
    return (_cell(values.get(m), digits, mark=m == winner) for m in methods)


def verdict(comparisons: Mapping[str, LogComparison]) -> str:
    """A sentence with the number of logs on which each of ours is ahead."""
    return (
        f"{OURS}, the models that workers run: {_ahead(OURS, comparisons)}\n"
        f"{NETWORK}, as workers run them with FOREMESH_RNN=on: {_ahead(NETWORK, comparisons)}\n"
        f"{BATCH}, which no worker runs: {_ahead(BATCH, comparisons)}"
    )


def _ahead(ours: str, comparisons: Mapping[str, LogComparison]) -> str:
    accuracies = [comparison.accuracies() for comparison in comparisons.values()]
    ahead = sum(a[ours] > a[BASE] for a in accuracies if BASE in a)
    first = sum(
        a[ours] > max((v for m, v in a.items() if m not in {OURS, NETWORK, BATCH}), default=0)
        for a in accuracies
    )
    errors = [e for comparison in comparisons.values() if BASE in (e := comparison.errors())]
    nearer = sum(e[ours] <= e[BASE] for e in errors)
    return (
        f"accuracy above {BASE} on {ahead} of {len(comparisons)} logs and above every published method"
        f" on {first}; next timestamp at or below {BASE} on {nearer} of {len(errors)} with time."
    )


def rows(comparisons: Mapping[str, LogComparison]) -> list[dict[str, Any]]:
    """One row for each log and method, for programs."""
    return [
        {
            "table": "ppm",
            "trace": log,
            "model": method,
            "accuracy": round(accuracy / 100, 6),
            "nt_mae_days": comparison.errors().get(method),
        }
        for log, comparison in comparisons.items()
        for method, accuracy in comparison.accuracies().items()
    ]


def figure(comparisons: Mapping[str, LogComparison]) -> Figure:
    """A row of dots for each log: the accuracy of all methods, ours in colour."""
    chart = Figure(figsize=(11, 1.5 + 0.5 * len(comparisons)), layout="constrained")
    axes = chart.subplots()
    for place, comparison in enumerate(comparisons.values()):
        others = comparison.accuracies()
        ours, network, batch = (others.pop(name) for name in (OURS, NETWORK, BATCH))
        axes.plot([*others.values()], [place] * len(others), "o", color="0.7")
        axes.plot([batch], [place], "D", color="C0", label=None if place else BATCH)
        axes.plot([ours], [place], "D", color="C1", label=None if place else OURS)
        axes.plot([network], [place], "D", color="C2", label=None if place else NETWORK)
    axes.set_yticks(range(len(comparisons)), list(comparisons))
    axes.set(xlabel="accuracy of the next event, %", title=f"{OURS} among the published methods")
    axes.legend()
    axes.invert_yaxis()
    return chart


def _cell(value: float | None, digits: int, *, mark: bool) -> str:
    return "" if value is None else f"{value:.{digits}f}{'*' if mark else ''}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
