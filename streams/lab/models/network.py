"""State of the recurrent network: weights, optimiser, replay ring, hidden state per user."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from streams.models.kernels import inner, record
from streams.models.state_bytes import StateReader, StateWriter

__all__ = [
    "CORE",
    "GAPS",
    "GATES",
    "OWN",
    "RING",
    "ROWS",
    "SEGMENT",
    "SHARED",
    "STEPS",
    "UNSEEN",
    "WIDTH",
    "NetworkState",
    "UserMemory",
    "gap_of",
    "row_of",
]  # fmt: skip

Floats = npt.NDArray[Any]

WIDTH = 32  # of the hidden state, and of the embedding of a service
GATES = 3 * WIDTH
STEPS = 8  # inputs of a segment, the length of back-propagation
RING = 4_096  # latest segments, from which mini-batches are drawn
GAPS = 20
OWN, SHARED = 768, 240  # rows of the first services; rows shared by all later services
ROWS = 1 + OWN + SHARED
CORE = (2 * WIDTH + GAPS) * GATES + ROWS  # weights of the unit, and biases of services
UNSEEN = 0  # the row of a service that nobody used before
# Initial weights: spread of the embeddings; weight from an embedding to the candidate state, so
# that the last service is likely to repeat; bias of the update gate, which keeps the state.
_SPREAD, _REPEAT, _FORGET = 0.3, 2.0, -1.0

SEGMENT = record(
    inputs=(np.uint16, (STEPS,)), gaps=(np.uint16, (STEPS,)), targets=(np.uint16, (STEPS,))
)


def row_of(number: int) -> int:
    """The row of a service."""
    return 1 + (number if number < OWN else OWN + (number - OWN) % SHARED)


def gap_of(gap_ms: int) -> int:
    """The bucket of a gap, in factors of four from a millisecond; 0 for no gap."""
    return 1 + min(gap_ms.bit_length() >> 1, GAPS - 2) if gap_ms >= 0 else 0


class NetworkWeights(NamedTuple):
    """The flat weights of a network, part by part."""

    inputs: Floats  # from an embedding to the gates
    recurrent: Floats  # from a hidden state to the gates
    gaps: Floats  # from a bucket of gaps to the gates
    biases: Floats  # of services
    embeddings: Floats  # of services


@inner
def parts(theta: Floats) -> NetworkWeights:
    """The parts of the flat weights, or of their gradient."""
    square = WIDTH * GATES
    return NetworkWeights(
        theta[:square].reshape(WIDTH, GATES),
        theta[square : 2 * square].reshape(WIDTH, GATES),
        theta[2 * square : CORE - ROWS].reshape(GAPS, GATES),
        theta[CORE - ROWS : CORE],
        theta[CORE:].reshape(-1, WIDTH),
    )


class UserMemory:
    """A user's hidden state, and the segment that their next request belongs to."""

    __slots__ = ("hidden", "segment")

    def __init__(self) -> None:
        self.hidden = np.zeros(WIDTH, np.float16)
        self.segment = 0  # number of the segment, 0 before the first

    def write(self, out: StateWriter) -> None:
        """Append this memory."""
        out.array(self.hidden)
        out.uint(self.segment)

    @classmethod
    def read(cls, data: StateReader) -> Self:
        """The memory that `write` appended."""
        memory = cls()
        memory.hidden = data.array_like(memory.hidden)
        memory.segment = data.uint()
        return memory


class NetworkState:
    """The weights that all users share, their optimiser, and a ring of recent segments.

    Guarantees: a network that is read back continues exactly as the one that was written.

    Parameters
    ----------
    seed
        Seed of the initial weights.
    """

    __slots__ = (
        "events",
        "first",
        "opened",
        "rows",
        "second",
        "seed",
        "segments",
        "sizes",
        "starts",
        "steps",
        "theta",
        "touched",
    )  # fmt: skip

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.events = 0  # learnt
        self.steps = 0  # of the optimiser
        self.opened = 0  # segments so far
        self.rows = 1  # rows of services in use, `UNSEEN` first
        self.theta = np.zeros(0, np.float32)
        self.first = np.zeros(0, np.float32)
        self.second = np.zeros(0, np.float32)
        self.starts = np.zeros((RING, WIDTH), np.float16)
        self.segments = np.zeros(RING, SEGMENT)
        self.sizes = np.zeros(RING, np.uint8)  # known targets; there is one more input
        self.touched: list[int] = []  # places in the ring with a new target since the last step
        self._grow(first_weights(seed))

    def make_room(self, rows: int) -> None:
        """Grow the weights until `rows` rows of services can be used."""
        self.rows = max(self.rows, rows)
        while len(self.theta) < CORE + self.rows * WIDTH:
            held = (len(self.theta) - CORE) // WIDTH
            self._grow(first_services(self.seed, held, held))

    def _grow(self, more: Floats) -> None:
        self.theta = np.concatenate([self.theta, more])
        zeros = np.zeros_like(more)
        self.first, self.second = (np.concatenate([m, zeros]) for m in (self.first, self.second))

    def write(self, out: StateWriter) -> None:
        """Append this network."""
        out.uints((self.seed, self.events, self.steps, self.opened, self.rows))
        held = min(self.opened + 1, RING)
        for array in (self.theta, self.first, self.second):
            out.array(array)
        for ring in (self.starts, self.segments, self.sizes):
            out.array(ring[:held])
        out.uint(len(self.touched))
        out.uints(self.touched)

    @classmethod
    def read(cls, data: StateReader) -> Self:
        """The network that `write` appended."""
        network = cls()
        (network.seed, network.events, network.steps, network.opened, network.rows) = data.uints(5)
        for name in ("theta", "first", "second"):
            setattr(network, name, data.array_like(getattr(network, name)[:0]))
        for ring in (network.starts, network.segments, network.sizes):
            held = data.array_like(ring[:0])
            ring[: len(held)] = held
        network.touched = data.uints(data.uint())
        return network


def first_weights(seed: int) -> Floats:
    """Initial weights, with 16 rows of services."""
    rng = np.random.default_rng((seed, 0))
    square = rng.standard_normal((2 * WIDTH, GATES)) / WIDTH**0.5
    own = np.arange(WIDTH)
    square[own, 2 * WIDTH + own] += _REPEAT
    gaps, biases = np.zeros((GAPS, GATES)), np.zeros(ROWS)
    gaps[:, :WIDTH] = _FORGET
    parts = [square.ravel(), gaps.ravel(), biases, first_services(seed, 0, 16)]
    return np.concatenate(parts).astype(np.float32)


def first_services(seed: int, held: int, more: int) -> Floats:
    """Initial embeddings of new services."""
    rows = np.random.default_rng((seed, 1, held)).standard_normal((more, WIDTH))
    return (_SPREAD * rows).ravel().astype(np.float32)
