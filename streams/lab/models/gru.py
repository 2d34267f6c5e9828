"""Kernels of a gated recurrent unit: its forward pass, its gradient, its optimiser."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.lab.models.network import (
    GATES,
    OWN,
    SEGMENT,
    SHARED,
    WIDTH,
    Floats,
    NetworkWeights,
    parts,
    row_of,
)
from streams.models.kernels import (
    F4,
    F8,
    FLOAT,
    I8,
    INT,
    F4x2,
    Record,
    Records,
    array_of,
    inner,
    kernel,
    named,
)
from streams.models.next_request.candidates import CANDIDATES, Items

__all__ = ["OptimiserState", "SegmentBatch", "chances", "follow", "train"]

_ONE = np.float32(1.0)
_FADE_FIRST, _FADE_SECOND, _TINY = np.float32(0.9), np.float32(0.99), np.float32(1e-7)
_FLOOR = 1e-7  # least probability, as of the experts of the mixture

_row_of = inner(row_of)


class SegmentPass(NamedTuple):
    """What the forward pass of a segment keeps for the gradient, by step."""

    inputs: Floats  # embeddings
    gates: Floats
    kept: Floats  # contributions of the hidden states to the gates


class OptimiserState(NamedTuple):
    """Weights, and Adam's moments of their gradients."""

    theta: Floats
    first: Floats
    second: Floats


class SegmentBatch(NamedTuple):
    """A mini-batch of segments."""

    starts: Floats  # hidden state before each
    segments: Records  # inputs, gaps and targets
    sizes: npt.NDArray[np.int64]  # targets of each that are known


@inner
def dot(left: Floats, right: Floats, size: int) -> np.float32:
    """Inner product in eight sums: a fixed order that still fits a vector unit."""
    a = b = c = d = e = f = g = h = np.float32(0.0)
    for at in range(0, size, 8):
        a += left[at] * right[at]
        b += left[at + 1] * right[at + 1]
        c += left[at + 2] * right[at + 2]
        d += left[at + 3] * right[at + 3]
        e += left[at + 4] * right[at + 4]
        f += left[at + 5] * right[at + 5]
        g += left[at + 6] * right[at + 6]
        h += left[at + 7] * right[at + 7]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@inner
def squashed(value: float) -> np.float32:
    """The logistic function."""
    return _ONE / (_ONE + math.exp(-value))


@inner
def gate(given: Floats, kept: Floats, hidden: Floats, gates: Floats, after: Floats) -> None:
    """Fill in the hidden state after an input.

    Parameters
    ----------
    given, kept
        Contributions of the input and of the hidden state to the gates.
    gates
        Filled in with update, reset and candidate, for the gradient.
    """
    for j in range(WIDTH):
        update = squashed(given[j] + kept[j])
        reset = squashed(given[WIDTH + j] + kept[WIDTH + j])
        candidate = math.tanh(given[2 * WIDTH + j] + reset * kept[2 * WIDTH + j])
        after[j] = candidate + update * (hidden[j] - candidate)
        gates[j], gates[WIDTH + j], gates[2 * WIDTH + j] = update, reset, candidate


@inner
def softmax(scores: Floats) -> None:
    """Turn scores into probabilities, in place."""
    highest, total = scores[0], np.float32(0.0)
    for row in range(len(scores)):
        highest = max(highest, scores[row])
    for row in range(len(scores)):
        scores[row] = math.exp(scores[row] - highest)
        total += scores[row]
    for row in range(len(scores)):
        scores[row] /= total


@inner
def ungate(
    gates: Floats, kept: Floats, hidden: Floats, back: Floats, inward: Floats, across: Floats
) -> None:
    """Fill in the gradients of `given` and `kept` of `gate`, from `back`, that of its result."""
    for j in range(WIDTH):
        update, reset, candidate = gates[j], gates[WIDTH + j], gates[2 * WIDTH + j]
        bent = back[j] * (_ONE - update) * (_ONE - candidate * candidate)
        inward[j] = back[j] * (hidden[j] - candidate) * update * (_ONE - update)
        inward[WIDTH + j] = bent * kept[2 * WIDTH + j] * reset * (_ONE - reset)
        inward[2 * WIDTH + j] = bent
        across[j], across[WIDTH + j] = inward[j], inward[WIDTH + j]
        across[2 * WIDTH + j] = bent * reset


@inner
def forward(weights: NetworkWeights, start: Floats, segment: Record, hidden: Floats) -> SegmentPass:
    """Fill in the hidden states of a segment, `start` first."""
    size = len(hidden) - 1
    taken, kept = np.empty((size, WIDTH), np.float32), np.empty((size, GATES), np.float32)
    gates = np.empty((size, GATES), np.float32)
    for at in range(size):
        taken[at] = weights.embeddings[segment.inputs[at]]
    given = np.dot(taken, weights.inputs)
    hidden[0] = start
    for at in range(size):
        given[at] += weights.gaps[segment.gaps[at]]
        kept[at] = np.dot(hidden[at], weights.recurrent)
        gate(given[at], kept[at], hidden[at], gates[at], hidden[at + 1])
    return SegmentPass(taken, gates, kept)


@inner
def loss_gradient(
    weights: NetworkWeights, gradient: NetworkWeights, states: Floats, targets: Items, known: int
) -> tuple[float, Floats]:
    """Add the gradient at a segment's targets; returns log-loss and gradient of the states."""
    errors, loss = np.dot(states, weights.embeddings[:known].T), 0.0
    for at in range(len(states)):
        scores = errors[at]
        for row in range(known):
            scores[row] += weights.biases[row]
        softmax(scores)
        loss -= math.log(scores[targets[at]] + _TINY)
        scores[targets[at]] -= _ONE
        for row in range(known):
            gradient.biases[row] += scores[row]
    gradient.embeddings[:known] += np.dot(errors.T, states)
    return loss, np.dot(errors, weights.embeddings[:known])


@inner
def learn_segment(
    weights: NetworkWeights,
    gradient: NetworkWeights,
    start: Floats,
    segment: Record,
    size: int,
    known: int,
) -> float:
    """Add the gradient of the first `size` steps of a segment; returns their log-loss."""
    hidden = np.empty((size + 1, WIDTH), np.float32)
    taken, gates, kept = forward(weights, start, segment, hidden)
    loss, pull = loss_gradient(weights, gradient, hidden[1:], segment.targets, known)
    inward, across = np.empty((size, GATES), np.float32), np.empty((size, GATES), np.float32)
    back = np.zeros(WIDTH, np.float32)
    for at in range(size - 1, -1, -1):
        back += pull[at]
        ungate(gates[at], kept[at], hidden[at], back, inward[at], across[at])
        back = back * gates[at, :WIDTH] + np.dot(weights.recurrent, across[at])
        gradient.gaps[segment.gaps[at]] += inward[at]
    gradient.inputs[:] += np.dot(taken.T, inward)
    gradient.recurrent[:] += np.dot(hidden[:size].T, across)
    through = np.dot(inward, weights.inputs.T)
    for at in range(size):
        gradient.embeddings[segment.inputs[at]] += through[at]
    return loss


@inner
def adam(state: OptimiserState, gradient: Floats, scale: float, rate: float, steps: float) -> None:
    """One step of Adam, in place, along the gradient times `scale`."""
    theta, first, second = state
    step = np.float32(rate * math.sqrt(1.0 - 0.99**steps) / (1.0 - 0.9**steps))
    share = np.float32(scale)
    for at in range(len(theta)):
        scaled = gradient[at] * share
        first[at] += (_ONE - _FADE_FIRST) * (scaled - first[at])
        second[at] += (_ONE - _FADE_SECOND) * (scaled * scaled - second[at])
        theta[at] -= step * first[at] / (np.sqrt(second[at]) + _TINY)


@kernel(
    named(OptimiserState, theta=F4, first=F4, second=F4),
    named(SegmentBatch, starts=F4x2, segments=array_of(SEGMENT), sizes=I8),
    INT,
    FLOAT,
    FLOAT,
)
def train(
    state: OptimiserState, batch: SegmentBatch, known: int, rate: float, steps: float
) -> float:
    """Learn a mini-batch of segments, in place; returns the mean log-loss before.

    Parameters
    ----------
    state
        Changed in place.
    batch
        The segments.
    known
        Rows of services that have a probability.
    rate, steps
        Learning rate, and number of steps so far, this one included.
    """
    flat = np.zeros_like(state.theta)
    weights, gradient = parts(state.theta), parts(flat)
    loss, count = 0.0, 0
    for at in range(len(batch.sizes)):
        size = batch.sizes[at]
        loss += learn_segment(weights, gradient, batch.starts[at], batch.segments[at], size, known)
        count += size
    if count:
        adam(state, flat, 1.0 / count, rate, steps)
    return loss / max(count, 1)


@kernel(F4, F4, INT, INT, F4)
def follow(theta: Floats, hidden: Floats, row: int, gap: int, after: Floats) -> None:
    """Fill in the hidden state after an input."""
    weights = parts(theta)
    given = np.dot(weights.embeddings[row], weights.inputs) + weights.gaps[gap]
    gate(given, np.dot(hidden, weights.recurrent), hidden, np.empty(GATES, np.float32), after)


@kernel(F4, F4, INT, CANDIDATES, INT, F8)
def chances(
    theta: Floats, hidden: Floats, rows: int, candidates: Records, known: int, row: Floats
) -> None:
    """Fill in the probability of each candidate, of all others, and of the unseen.

    Parameters
    ----------
    rows
        Rows of services that the network knows, including the row of unseen ones.
    candidates
        Services by column.
    known
        Number of services.
    """
    weights = parts(theta)
    by_row = np.empty(rows, np.float32)
    for at in range(rows):
        by_row[at] = dot(weights.embeddings[at], hidden, WIDTH) + weights.biases[at]
    softmax(by_row)
    columns, rest = len(candidates), 1.0 - by_row[0]
    for column in range(columns):
        at = _row_of(candidates[column].service)
        share = by_row[at] if at < rows else 0.0
        if at > OWN:
            share /= (known - at) // SHARED + 1
        row[column] = share + _FLOOR
        rest -= share
    row[columns] = max(rest, 0.0) + _FLOOR
    row[columns + 1] = by_row[0] + _FLOOR
