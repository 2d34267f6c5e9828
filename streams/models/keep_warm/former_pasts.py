"""Pasts as earlier releases wrote them: without what is ready, by count of cold starts, with fewer timers."""

from __future__ import annotations

from typing import Any

import numpy as np

from streams.models.keep_warm.hedge import EXPERTS, PAST, PRIOR, TIMERS_MS, Weights, past_of
from streams.models.kernels import Records, record
from streams.models.state_bytes import unpacked

__all__ = ["records_of"]

_DAY_MS = 86_400_000
_AT = int(np.flatnonzero(TIMERS_MS > _DAY_MS)[0])  # the place of the first that was not there
_NEW = len(TIMERS_MS) - 1 - _AT  # all that are longer than a day, but not the one that never ends


def _without(experts: int, *names: str, **others: np.dtype[Any]) -> np.dtype[Any]:
    """The form without these fields, and with others of other kinds."""
    kinds = {name: kind for name, (kind, *_) in (past_of(experts).fields or {}).items()}
    return record(**{n: kind for n, kind in kinds.items() if n not in names} | others)


def _by_starts(experts: int) -> np.dtype[Any]:
    """The form that had whole cold starts in place of waits."""
    return _without(experts, "ready_ms", "ready", waited=np.dtype((np.int64, (experts,))))


_RELEASED = _without(EXPERTS, "ready")  # 0.1.0
_FORMERS = {form.itemsize: form for form in (_by_starts(EXPERTS), _by_starts(EXPERTS - _NEW))}


def records_of(data: bytes) -> Records | None:
    """The record of a former past; None for bytes that are none.

    Those by count of cold starts have the first weights.
    """
    form = _FORMERS.get(len(data), _RELEASED)
    if len(data) != form.itemsize:
        return None
    former, after = unpacked(data, form), np.zeros(1, PAST)
    for name in form.names or ():
        values = former[name]
        grown = values.ndim == 2 and values.shape[1] == EXPERTS - _NEW
        after[name] = np.insert(values, [_AT] * _NEW, 0, axis=1) if grown else values
    if form is not _RELEASED:
        after["prior"], after["loss"] = PRIOR, _losses_of(former["loss"][0])
    return after


def _losses_of(losses: Weights) -> Weights:
    """The losses of all experts: a new one's are the mean of its neighbours'."""
    if len(losses) == EXPERTS:
        return losses
    return np.insert(losses, [_AT] * _NEW, (losses[_AT - 1] + losses[_AT]) / 2)
