"""What the network is made of, and what it remembers of a user."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.models.kernels import Records, array_of, inner, named, record

__all__ = [
    "GAPS", "GATES", "NETWORK", "OTHERS", "OWN", "ROWS", "SERVICE", "SHARED", "STEPS", "TRAILS",
    "UNIT", "UNSEEN", "WIDTH", "NetworkWeights", "compiled_row_of", "first_services",
    "first_unit", "gap_of", "no_trail", "product", "row_of",
]  # fmt: skip

Floats = npt.NDArray[np.float32]

WIDTH = 32  # of the hidden state, and of the vectors of a service
GATES = 3 * WIDTH
STEPS = 4  # requests that a hidden state is made anew from, and the length of back-propagation
GAPS = 20
OWN, SHARED = 254, 64  # rows of the first services; rows shared by all later ones
UNSEEN, OTHERS = 0, 1  # rows of a service that nobody used before, of all without a column
_FIRST = 2
ROWS = _FIRST + OWN + SHARED
# Initial weights: spread of the vectors; weight from an input to the candidate state, so that the
# last service is likely to repeat; bias of the update gate, which keeps the state.
_SPREAD, _REPEAT, _FORGET = 0.3, 2.0, -1.0

# Weights of the gates: from an input, from the hidden state, from a bucket of gaps. Each row has a
# sum of squared gradients, which shortens its steps.
UNIT = record(
    inputs=(np.float32, (WIDTH, GATES)),
    recurrent=(np.float32, (WIDTH, GATES)),
    gaps=(np.float32, (GAPS, GATES)),
    input_squares=(np.float32, (WIDTH,)),
    recurrent_squares=(np.float32, (WIDTH,)),
    gap_squares=(np.float32, (GAPS,)),
)
# Vectors of a service: as input; what the network alone gives it; what it adds to the mixture.
SERVICE = record(
    given=(np.float32, (WIDTH,)),
    own=(np.float32, (WIDTH,)),
    added=(np.float32, (WIDTH,)),
    own_bias=np.float32,
    added_bias=np.float32,
    given_squares=np.float32,
    own_squares=np.float32,
    added_squares=np.float32,
)
# Of a user: the hidden state before their last requests, in parts of 32,767; and these, as rows of
# services and buckets of gaps.
_TRAIL = record(
    hidden=(np.int16, (WIDTH,)),
    rows=(np.uint16, (STEPS,)),
    gaps=(np.uint8, (STEPS,)),
    length=np.uint16,
)
TRAILS = array_of(_TRAIL)


class NetworkWeights(NamedTuple):
    """All weights of the network."""

    unit: Records  # one
    services: Records  # by row


NETWORK = named(NetworkWeights, unit=array_of(UNIT), services=array_of(SERVICE))


def row_of(number: int) -> int:
    """The row of a service."""
    return _FIRST + (number if number < OWN else OWN + (number - OWN) % SHARED)


compiled_row_of = inner(row_of)  # for kernels: Python would compile it at its first request


@inner
def product(one: Floats, other: Floats) -> np.float32:
    """Inner product of two vectors of a multiple of eight numbers.

    Eight sums in an order of their own: a vector unit takes them at once, and each processor has
    the same result.
    """
    a = b = c = d = e = f = g = h = np.float32(0.0)
    for j in range(0, len(one), 8):
        a += one[j] * other[j]
        b += one[j + 1] * other[j + 1]
        c += one[j + 2] * other[j + 2]
        d += one[j + 3] * other[j + 3]
        e += one[j + 4] * other[j + 4]
        f += one[j + 5] * other[j + 5]
        g += one[j + 6] * other[j + 6]
        h += one[j + 7] * other[j + 7]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


def gap_of(gap_ms: int) -> int:
    """The bucket of a gap, in factors of four from a millisecond; 0 for no gap."""
    return 1 + min(gap_ms.bit_length() >> 1, GAPS - 2) if gap_ms >= 0 else 0


def no_trail() -> Records:
    """The memory of a user that nothing is known of."""
    return np.zeros(1, _TRAIL)


def first_unit() -> Records:
    """Initial weights of the unit."""
    unit, own = np.zeros(1, UNIT), np.arange(WIDTH)
    rng = np.random.default_rng(0)
    unit["inputs"] = rng.standard_normal((WIDTH, GATES)) / WIDTH**0.5
    unit["recurrent"] = rng.standard_normal((WIDTH, GATES)) / WIDTH**0.5
    unit["inputs"][0, own, 2 * WIDTH + own] += _REPEAT
    unit["gaps"][:, :, :WIDTH] = _FORGET
    return unit


def first_services(held: int, more: int) -> Records:
    """Initial vectors of so many more services: they add nothing to the mixture."""
    services = np.zeros(more, SERVICE)
    rng = np.random.default_rng((1, held))
    services["given"] = _SPREAD * rng.standard_normal((more, WIDTH))
    services["own"] = _SPREAD * rng.standard_normal((more, WIDTH))
    return services
