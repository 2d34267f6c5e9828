"""Scores of arrivals: Brier score by horizon, pinball loss of the gap to the next request."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from streams.models.arrival.gaps import GapHistogram

__all__ = ["HORIZONS_MS", "QUANTILES", "ArrivalScores"]

HORIZONS_MS = (30_000, 60_000, 300_000, 1_800_000)
QUANTILES = (0.1, 0.5, 0.9)
_MODELS = ("mixture", "empirical")


class ArrivalScores:
    """Compares the gap model with each user's empirical rate, event by event.

    The empirical rate of a user without a gap so far is that of all users.
    """

    def __init__(self) -> None:
        self.n = 0
        self._within: defaultdict[str, list[int]] = defaultdict(lambda: [0] * len(HORIZONS_MS))
        self._gaps: defaultdict[str, GapHistogram] = defaultdict(GapHistogram)
        self._all, self._all_gaps = [0] * len(HORIZONS_MS), GapHistogram()
        self._seen: defaultdict[str, int] = defaultdict(int)
        self._brier = [[0.0] * len(HORIZONS_MS) for _ in _MODELS]
        self._pinball = [[0.0] * len(QUANTILES) for _ in _MODELS]
        self._clock = False

    def add(
        self, user: str, gap_ms: int, within: Sequence[float], quantiles_ms: Sequence[int]
    ) -> None:
        """Score one gap.

        Parameters
        ----------
        user
            The user.
        gap_ms
            The gap to the user's next request.
        within
            Predicted probability that the gap ends within each of `HORIZONS_MS`.
        quantiles_ms
            Predicted `QUANTILES` of the gap.
        """
        seen = self._seen[user]
        own, n = (self._within[user], seen) if seen else (self._all, self.n)
        rates = [(ended + 0.5) / (n + 1) for ended in own] if not seen else [c / n for c in own]
        histogram = self._gaps[user] if seen else self._all_gaps
        quantiles = [histogram.quantile(q) for q in QUANTILES]
        self._add(0, gap_ms, within, quantiles_ms)
        self._add(1, gap_ms, rates, quantiles)
        for i, horizon in enumerate(HORIZONS_MS):
            self._within[user][i] += gap_ms <= horizon
            self._all[i] += gap_ms <= horizon
        self._gaps[user].learn_one(gap_ms)
        self._all_gaps.learn_one(gap_ms)
        self._seen[user] += 1
        self.n += 1
        self._clock = self._clock or gap_ms > 0

    def _add(
        self, model: int, gap_ms: int, within: Sequence[float], quantiles_ms: Sequence[int]
    ) -> None:
        for i, (horizon, chance) in enumerate(zip(HORIZONS_MS, within, strict=True)):
            self._brier[model][i] += (chance - (gap_ms <= horizon)) ** 2
        for i, (q, quantile) in enumerate(zip(QUANTILES, quantiles_ms, strict=True)):
            over = _doublings(gap_ms) - _doublings(quantile)
            self._pinball[model][i] += max(q * over, (q - 1) * over)

    def summary(self) -> dict[str, dict[str, float]]:
        """Mean scores of the mixture and of the empirical rate; empty when no time passed.

        Pinball loss is of the gap in doublings, log2(1 + seconds).
        """
        if not self._clock:
            return {}
        names = [f"brier_{horizon // 1000}s" for horizon in HORIZONS_MS]
        names += [f"pinball_{q}" for q in QUANTILES]
        scores: dict[str, dict[str, float]] = {}
        for model, *sums in zip(_MODELS, self._brier, self._pinball, strict=True):
            means = [round(total / self.n, 6) for part in sums for total in part]
            scores[model] = {"n": self.n, **dict(zip(names, means, strict=True))}
        return scores


def _doublings(gap_ms: int) -> float:
    return math.log2(1 + gap_ms / 1000)
