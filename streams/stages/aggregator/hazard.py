"""The hazard of a user's next request, by the age of the silence."""

from __future__ import annotations

import math
from collections.abc import Callable

from streams.records import Prediction

__all__ = ["asks_after", "soon"]

STEEPEST = 20.0  # largest shape, for gaps that are all equal


def asks_after(expected_ms: tuple[int, int, int], horizon_ms: int) -> Callable[[float], float]:
    """P(the next request comes within the horizon | none so far), by time since the last one.

    Gaps between a user's requests have heavy tails: many within a session, few of days. The
    log-logistic law through the median and the 90 % quantile holds both; its hazard falls with
    silence when gaps are irregular and rises towards the median when they are regular
    (Bennett, Applied Statistics 32(2), 1983).

    Parameters
    ----------
    expected_ms
        10 %, 50 % and 90 % quantile of the gap.
    """
    _, median, late = (max(1, ms) for ms in expected_ms)
    spread = math.log(max(late, median) / median)
    shape = min(STEEPEST, math.log(9) / spread) if spread > 0 else STEEPEST

    def odds(age_ms: float) -> float:
        return math.pow(age_ms / median, shape)

    def chance(age_ms: float) -> float:
        return 1 - (1 + odds(age_ms)) / (1 + odds(age_ms + horizon_ms))

    return chance


def soon(prediction: Prediction) -> float:
    """P(the user's next request comes within the horizon).

    A service that may also come with a later request has a higher share within the horizon than
    this; one that may not has just this.
    """
    shares = [s.within / s.probability for s in prediction.services if s.probability > 0]
    return min([1.0, *shares]) if shares else 0.0
