"""Pasts as a release without timers of several days wrote them."""

from __future__ import annotations

import numpy as np

from streams.models.keep_warm.hedge import EXPERTS, PAST, PRIOR, TIMERS_MS, Weights, past_of
from streams.models.kernels import Records
from streams.models.state_bytes import unpacked

__all__ = ["losses_of", "records_of"]

_DAY_MS = 86_400_000
_AT = int(np.flatnonzero(TIMERS_MS > _DAY_MS)[0])  # the place of the first that was not there
_NEW = len(TIMERS_MS) - 1 - _AT  # all that are longer than a day, but not the one that never ends
_FORMER = past_of(EXPERTS - _NEW)


def losses_of(losses: Weights) -> Weights:
    """The losses of all experts: a new one's are the mean of its neighbours'.

    So the losses of several pasts have the sum that `SharedLosses` of them has.
    """
    if len(losses) != EXPERTS - _NEW:
        return losses
    return np.insert(losses, [_AT] * _NEW, (losses[_AT - 1] + losses[_AT]) / 2)


def records_of(data: bytes) -> Records | None:
    """The record of a former past; None for bytes that are none."""
    if len(data) != _FORMER.itemsize:
        return None
    former, after = unpacked(data, _FORMER), np.zeros(1, PAST)
    for name in _FORMER.names or ():
        values = former[name]
        grown = values.ndim == 2 and values.shape[1] == EXPERTS - _NEW
        after[name] = np.insert(values, [_AT] * _NEW, 0, axis=1) if grown else values
    after["prior"], after["loss"] = PRIOR, losses_of(former["loss"][0])
    return after
