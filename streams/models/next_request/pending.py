"""The gradient of a prediction that waits for the feedback of its request."""

from __future__ import annotations

import math

import numpy as np

from streams.models.kernels import Record, Table, array_of, inner, record
from streams.models.next_request.experts import M
from streams.models.next_request.mixing import GROUPS

__all__ = ["PENDING", "PENDINGS", "fill_pending", "from_fixed"]

# Gradients in fixed point, two bytes each: eight of these wait in a user's profile.
PENDING = record(
    gradient=(np.uint16, (M,)),  # of the log-probability of what came, by expert's weight
    error=np.uint16,  # of the top probability
    bucket=np.uint16,  # of its calibration
    sets=(np.uint16, (GROUPS,)),  # of weights
    service=np.uint16,  # that the prediction was made after
)
PENDINGS = array_of(PENDING)
_FINE, _ZERO = 2048.0, 32768  # steps in one, and where zero is


@inner
def to_fixed(value: float) -> int:
    """A number in fixed point, from -16 to 16."""
    return int(min(max(round(value * _FINE), 1 - _ZERO), _ZERO - 1)) + _ZERO


@inner
def from_fixed(value: int) -> float:
    """The number of a fixed point."""
    return (np.int64(value) - _ZERO) / _FINE


@inner
def fill_pending(
    pending: Record, table: Table, forecast: Record, column: int, service: int
) -> None:
    """Fill in what to keep of a prediction made after `service` when that of `column` came."""
    gradient, sets = pending.gradient, pending.sets
    for expert in range(M):
        gradient[expert] = to_fixed(math.log(table[1 + expert, column]) - forecast.expected[expert])
    pending.error = to_fixed((column == forecast.top) - table[0, forecast.top])
    pending.bucket = forecast.bucket
    for group in range(GROUPS):
        sets[group] = forecast.sets[group]
    pending.service = service
