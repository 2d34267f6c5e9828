"""A prediction as vectors, one for each phase of the silence that its request may end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.records import Prediction

__all__ = ["by_phase"]


def by_phase(prediction: Prediction) -> NDArray[np.float64]:
    """By phase and entry: the probability that a request in the phase is for the composite."""
    columns = np.array([entry[1:] for entry in prediction.services]).reshape(-1, 5).T
    probability, _, soon, later, another_day = columns
    session = soon / prediction.soon if prediction.soon > 0.0 else probability
    if not (later.any() or another_day.any()):  # of an earlier release
        return np.array([np.maximum(session, probability), probability, probability])
    return np.array([session, later, another_day])
