"""Scores of when: horizon Brier score and pinball loss of the gap to a user's next request."""

from __future__ import annotations

import math
from collections import defaultdict

from streams.models.gaps import Gaps

__all__ = ["HORIZONS_MS", "When"]

HORIZONS_MS = (30_000, 60_000, 300_000, 1_800_000)
_QUANTILES = (0.1, 0.5, 0.9)


class When:
    """Compares the gap model with each user's empirical rate, event by event."""

    def __init__(self) -> None:
        self.n = 0
        self._own: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(HORIZONS_MS) + 1))
        self._all = [0] * (len(HORIZONS_MS) + 1)
        self._model = [0.0] * len(HORIZONS_MS)
        self._rate = [0.0] * len(HORIZONS_MS)
        self._pinball = [0.0] * len(_QUANTILES)

    def add(self, user: str, gap_ms: int, within: list[float], gaps: Gaps) -> None:
        """Score one gap: `within` each horizon as predicted, and the quantiles of `gaps`."""
        own = self._own[user]
        for i, horizon in enumerate(HORIZONS_MS):
            came = gap_ms <= horizon
            everyone = (self._all[i] + 0.5) / (self._all[-1] + 1)
            rate = own[i] / own[-1] if own[-1] else everyone
            self._model[i] += (within[i] - came) ** 2
            self._rate[i] += (rate - came) ** 2
            own[i] += came
            self._all[i] += came
        for i, q in enumerate(_QUANTILES):
            over = _doublings(gap_ms) - _doublings(gaps.quantile(q))
            self._pinball[i] += max(q * over, (q - 1) * over)
        own[-1] += 1
        self._all[-1] += 1
        self.n += 1

    def summary(self) -> dict[str, float]:
        """Mean scores; pinball loss is of the gap in doublings, log2(1 + seconds)."""
        n = max(self.n, 1)
        found: dict[str, float] = {"n": self.n}
        for i, horizon in enumerate(HORIZONS_MS):
            seconds = horizon // 1000
            found[f"brier_{seconds}s"] = round(self._model[i] / n, 6)
            found[f"brier_{seconds}s_empirical"] = round(self._rate[i] / n, 6)
        for i, q in enumerate(_QUANTILES):
            found[f"pinball_{q}"] = round(self._pinball[i] / n, 6)
        return found


def _doublings(gap_ms: int) -> float:
    return math.log2(1 + gap_ms / 1000)
