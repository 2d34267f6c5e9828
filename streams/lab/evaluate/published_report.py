"""Ours beside every published method: as tables, as figures, as rows for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table

from streams.lab.evaluate.published import DAY_MS, FoldScore, Methods

__all__ = ["OURS", "LogComparison", "figure", "rows", "tables", "verdict"]

OURS = "foremesh"
BASE = "Tax"  # the LSTM that all others compare with


@dataclass(frozen=True, slots=True, kw_only=True)
class LogComparison:
    """One log: our folds and those of the published methods."""

    ours: Sequence[FoldScore]
    accuracy: Methods
    mae_days: Methods

    def accuracies(self) -> dict[str, float]:
        """Mean accuracy in per cent by method, ours first."""
        ours = {OURS: 100 * _mean([fold.accuracy for fold in self.ours])}
        return ours | {m: 100 * _mean([*v.values()]) for m, v in self.accuracy.items()}

    def errors(self) -> dict[str, float]:
        """Mean error of the next timestamp in days, ours first; none where the log has no time.

        A published error below a millisecond is below the resolution of the log.
        """
        found = {m: _mean([*v.values()]) for m, v in self.mae_days.items()}
        if not found or max(found.values()) * DAY_MS < 1:
            return {}
        return {OURS: _mean([fold.mae_days for fold in self.ours])} | found


def tables(found: Mapping[str, LogComparison]) -> Iterator[Table]:
    """Accuracy and next-timestamp error of every method, by log; the best of each log marked *."""
    accuracies = {log: comparison.accuracies() for log, comparison in found.items()}
    yield _table("Accuracy of the next event, %", accuracies, best=max, digits=2)
    errors = {log: comparison.errors() for log, comparison in found.items()}
    timed = {log: methods for log, methods in errors.items() if methods}
    if timed:
        yield _table("Mean absolute error of the next timestamp, days", timed, best=min, digits=3)


def verdict(found: Mapping[str, LogComparison]) -> str:
    """On how many logs ours is ahead, in one sentence."""
    accuracies = [comparison.accuracies() for comparison in found.values()]
    ahead = sum(a[OURS] > a[BASE] for a in accuracies if BASE in a)
    first = sum(
        a[OURS] > max((v for m, v in a.items() if m != OURS), default=0) for a in accuracies
    )
    errors = [e for comparison in found.values() if BASE in (e := comparison.errors())]
    nearer = sum(e[OURS] <= e[BASE] for e in errors)
    return (
        f"Accuracy above {BASE} on {ahead} of {len(found)} logs and above every published method"
        f" on {first}; next timestamp at or below {BASE} on {nearer} of {len(errors)} with time."
    )


def rows(found: Mapping[str, LogComparison]) -> list[dict[str, Any]]:
    """One row for each log and method, for programs."""
    return [
        {
            "table": "ppm",
            "trace": log,
            "model": method,
            "accuracy": round(accuracy / 100, 6),
            "nt_mae_days": comparison.errors().get(method),
        }
        for log, comparison in found.items()
        for method, accuracy in comparison.accuracies().items()
    ]


def figure(found: Mapping[str, LogComparison]) -> Figure:
    """For each log all methods' accuracy as dots, ours in colour."""
    drawn = Figure(figsize=(11, 1.5 + 0.5 * len(found)), layout="constrained")
    axes = drawn.subplots()
    for place, comparison in enumerate(found.values()):
        others = comparison.accuracies()
        ours = others.pop(OURS)
        axes.plot([*others.values()], [place] * len(others), "o", color="0.7")
        axes.plot([ours], [place], "D", color="C1")
    axes.set_yticks(range(len(found)), list(found))
    axes.set(xlabel="accuracy of the next event, %", title=f"{OURS} among the published methods")
    axes.invert_yaxis()
    return drawn


def _table(
    title: str,
    found: Mapping[str, Mapping[str, float]],
    *,
    best: Callable[..., str],
    digits: int,
) -> Table:
    table = Table(title=f"{title} (mean of the folds)", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("log", no_wrap=True, min_width=max(map(len, found)))
    methods = list(dict.fromkeys(method for of in found.values() for method in of))
    for method in methods:
        table.add_column(
            method.replace("_", " "),
            justify="right",
            width=8 if method == OURS else 7,
            overflow="fold",
        )
    for log, of in found.items():
        winner = best(of, key=of.__getitem__)
        table.add_row(log, *(_cell(of.get(m), digits, mark=m == winner) for m in methods))
    return table


def _cell(value: float | None, digits: int, *, mark: bool) -> str:
    return "" if value is None else f"{value:.{digits}f}{'*' if mark else ''}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
