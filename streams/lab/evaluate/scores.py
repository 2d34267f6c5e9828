"""Scores of several models on the same events, by slice, in constant memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["BINS", "PredictionScores", "reliability", "summary"]

Floats = npt.NDArray[np.float64]

BINS = 15  # of the top probability, for the calibration error
_BLOCK = 4_096  # events buffered before they are added to the sums


@dataclass(slots=True)
class _SliceSums:
    """Sums over the events of one slice, for each model."""

    n: int
    values: Floats  # models x (hit at 1, at 3, at 5, reciprocal rank, log-loss, Brier)
    bins: Floats  # models x BINS x (events, hits, top probability)


@dataclass(slots=True)
class PredictionScores:
    """Accumulates scores of the probability that each model gave the requested service."""

    models: Sequence[str]
    slices: Sequence[str]
    sums: dict[str, _SliceSums] = field(init=False)
    _columns: list[tuple[Floats, Floats, Floats, Floats]] = field(default_factory=list)
    _flags: list[tuple[bool, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        m = len(self.models)
        self.sums = {
            s: _SliceSums(0, np.zeros((m, 6)), np.zeros((m, BINS, 3))) for s in self.slices
        }

    def add(self, rows: Floats, column: int, flags: tuple[bool, ...], others: int) -> None:
        """Score one event.

        Parameters
        ----------
        rows
            Probabilities, models x columns; the last two columns stand for all services without
            a column of their own, and for a service that nobody used before.
        column
            Column of the requested service.
        flags
            Whether the event belongs to each slice.
        others
            Number of services that share the last column but one evenly.
        """
        if others > 1:
            rows = rows.copy()
            rows[:, -2] /= others
        column %= rows.shape[1]
        given = rows[:, column]
        rank = 1 + (rows > given[:, None]).sum(1) + (rows[:, :column] == given[:, None]).sum(1)
        squares = (rows * rows).sum(1)
        if others > 1:
            squares += (others - 1) * rows[:, -2] ** 2
        self._columns.append((rank, given, squares - 2 * given + 1, rows.max(1)))
        self._flags.append(flags)
        if len(self._flags) >= _BLOCK:
            self.close()

    def close(self) -> None:
        """Add the buffered events to the sums."""
        if not self._flags:
            return
        rank, given, brier, top = (np.array(part) for part in zip(*self._columns, strict=True))
        flags = np.array(self._flags)
        losses = -np.log(np.maximum(given, 1e-12))
        values = np.stack([rank == 1, rank <= 3, rank <= 5, 1 / rank, losses, brier], 2)
        bins = np.minimum((top * BINS).astype(int), BINS - 1)
        for at, name in enumerate(self.slices):
            mask = flags[:, at]
            sums = self.sums[name]
            sums.n += int(mask.sum())
            sums.values += values[mask].sum(0)
            for model in range(len(self.models)):
                bin_numbers = bins[mask, model]
                for kind, weight in enumerate((None, rank[mask, model] == 1, top[mask, model])):
                    sums.bins[model, :, kind] += np.bincount(bin_numbers, weight, BINS)
        self._columns.clear()
        self._flags.clear()


def summary(scores: PredictionScores) -> dict[str, dict[str, dict[str, float]]]:
    """Scores by slice and model; a slice without events is left out."""
    scores.close()
    names = ("accuracy_1", "recall_3", "recall_5", "mrr", "log_loss", "brier")
    return {
        name: {
            model: {
                "n": sums.n,
                **dict(zip(names, (sums.values[i] / sums.n).round(6).tolist(), strict=True)),
                "ece": round(_ece(sums.bins[i]), 6),
            }
            for i, model in enumerate(scores.models)
        }
        for name, sums in scores.sums.items()
        if sums.n
    }


def reliability(
    scores: PredictionScores, slice_name: str, model: str
) -> list[tuple[float, float, int]]:
    """Mean top probability, share of hits and number of events, by bin."""
    scores.close()
    bins = scores.sums[slice_name].bins[list(scores.models).index(model)]
    return [(p / n, hits / n, int(n)) for n, hits, p in bins.tolist() if n]


def _ece(bins: Floats) -> float:
    """Expected calibration error (Naeini et al. 2015, AAAI, eq. 3) of the top probability."""
    return float(np.abs(bins[:, 1] - bins[:, 2]).sum() / bins[:, 0].sum())
