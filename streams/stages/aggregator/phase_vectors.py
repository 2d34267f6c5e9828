"""A prediction as vectors, one for each phase of the silence that its request may end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.models.arrival.phases import PHASES
from streams.records import Prediction

__all__ = ["by_phase"]


def by_phase(prediction: Prediction) -> NDArray[np.float64]:
    """By phase and entry: the probability that a request in the phase is for the composite."""
    if not prediction.services:
        return np.zeros((PHASES, 0))
    # By column, not by entry: an array of many short tuples takes three times as long to make.
    _, probabilities, _, *columns = zip(*prediction.services, strict=True)
    probability, soon, later, another_day = map(np.array, (probabilities, *columns))
    session = (
        np.minimum(soon, prediction.soon) / prediction.soon if prediction.soon else probability
    )
    if not (later.any() or another_day.any()):  # of an earlier release
        return np.array([np.maximum(session, probability), probability, probability])
    return np.array([session, later, another_day])
