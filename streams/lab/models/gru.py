"""A gated recurrent unit, its gradient and its steps, as machine code."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from streams.lab.models.network import (
    CORE,
    GAPS,
    GATES,
    OWN,
    ROWS,
    SHARED,
    STEPS,
    WIDTH,
    Floats,
    row_of,
)
from streams.models.kernels import F4, F8, FLOAT, I8, INT, ROW, F4x2, inner, kernel
from streams.models.next_request.candidates import Numbers

__all__ = ["chances", "follow", "train"]

_ONE = np.float32(1.0)
_FADE_FIRST, _FADE_SECOND, _TINY = np.float32(0.9), np.float32(0.99), np.float32(1e-7)
_FLOOR = 1e-7  # least probability of anything, as of the members of the mixture

_row_of = inner(row_of)
Lived = tuple[Floats, Floats, Floats]
Missed = tuple[float, Floats]


@inner
def parts(theta: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """What gates make of an input, a hidden state and a gap; biases of services; services."""
    square = WIDTH * GATES
    return (
        theta[:square].reshape(WIDTH, GATES),
        theta[square : 2 * square].reshape(WIDTH, GATES),
        theta[2 * square : CORE - ROWS].reshape(GAPS, GATES),
        theta[CORE - ROWS : CORE],
        theta[CORE:].reshape(-1, WIDTH),
    )


@inner
def dot(one: Floats, other: Floats, size: int) -> np.float32:
    """Inner product in eight sums: a fixed order that still fits a vector unit."""
    a = b = c = d = e = f = g = h = np.float32(0.0)
    for at in range(0, size, 8):
        a += one[at] * other[at]
        b += one[at + 1] * other[at + 1]
        c += one[at + 2] * other[at + 2]
        d += one[at + 3] * other[at + 3]
        e += one[at + 4] * other[at + 4]
        f += one[at + 5] * other[at + 5]
        g += one[at + 6] * other[at + 6]
        h += one[at + 7] * other[at + 7]
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
        What the gates get from the input, and from the hidden state.
    gates
        Filled in, for the gradient: update, reset, candidate.
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
    highest, whole = scores[0], np.float32(0.0)
    for row in range(len(scores)):
        highest = max(highest, scores[row])
    for row in range(len(scores)):
        scores[row] = math.exp(scores[row] - highest)
        whole += scores[row]
    for row in range(len(scores)):
        scores[row] /= whole


@inner
def ungate(
    gates: Floats, kept: Floats, hidden: Floats, back: Floats, inward: Floats, across: Floats
) -> None:
    """Fill in the gradients of what `gate` was given and kept, from `back`, that of its result."""
    for j in range(WIDTH):
        update, reset, candidate = gates[j], gates[WIDTH + j], gates[2 * WIDTH + j]
        bent = back[j] * (_ONE - update) * (_ONE - candidate * candidate)
        inward[j] = back[j] * (hidden[j] - candidate) * update * (_ONE - update)
        inward[WIDTH + j] = bent * kept[2 * WIDTH + j] * reset * (_ONE - reset)
        inward[2 * WIDTH + j] = bent
        across[j], across[WIDTH + j] = inward[j], inward[WIDTH + j]
        across[2 * WIDTH + j] = bent * reset


@inner
def live(theta: Floats, start: Floats, rows: Numbers, spans: Numbers, hidden: Floats) -> Lived:
    """Fill in the hidden states of a segment; the inputs, gates, and what states gave to them."""
    inputs, recurrent, gaps, _, services = parts(theta)
    size = len(rows)
    taken, kept = np.empty((size, WIDTH), np.float32), np.empty((size, GATES), np.float32)
    gates = np.empty((size, GATES), np.float32)
    for at in range(size):
        taken[at] = services[rows[at]]
    given = np.dot(taken, inputs)
    hidden[0] = start
    for at in range(size):
        given[at] += gaps[spans[at]]
        kept[at] = np.dot(hidden[at], recurrent)
        gate(given[at], kept[at], hidden[at], gates[at], hidden[at + 1])
    return taken, gates, kept


@inner
def miss(theta: Floats, slope: Floats, states: Floats, targets: Numbers, known: int) -> Missed:
    """Add the gradient at a segment's targets; its log-loss, and the gradient of the states."""
    _, _, _, biases, services = parts(theta)
    _, _, _, s_biases, s_services = parts(slope)
    missed, loss = np.dot(states, services[:known].T), 0.0
    for at in range(len(targets)):
        scores = missed[at]
        for row in range(known):
            scores[row] += biases[row]
        softmax(scores)
        loss -= math.log(scores[targets[at]] + _TINY)
        scores[targets[at]] -= _ONE
        for row in range(known):
            s_biases[row] += scores[row]
    s_services[:known] += np.dot(missed.T, states)
    return loss, np.dot(missed, services[:known])


@inner
def learn_segment(theta: Floats, slope: Floats, start: Floats, lived: Numbers, known: int) -> float:
    """Add the gradient of one segment, of inputs, gaps and targets; its log-loss."""
    size = len(lived) // 3
    rows, spans, targets = lived[:size], lived[size : 2 * size], lived[2 * size :]
    inputs, recurrent, _, _, _ = parts(theta)
    s_inputs, s_recurrent, s_gaps, _, s_services = parts(slope)
    hidden = np.empty((size + 1, WIDTH), np.float32)
    taken, gates, kept = live(theta, start, rows, spans, hidden)
    loss, pull = miss(theta, slope, hidden[1:], targets, known)
    inward, across = np.empty((size, GATES), np.float32), np.empty((size, GATES), np.float32)
    back = np.zeros(WIDTH, np.float32)
    for at in range(size - 1, -1, -1):
        back += pull[at]
        ungate(gates[at], kept[at], hidden[at], back, inward[at], across[at])
        back = back * gates[at, :WIDTH] + np.dot(recurrent, across[at])
        s_gaps[spans[at]] += inward[at]
    s_inputs += np.dot(taken.T, inward)
    s_recurrent += np.dot(hidden[:size].T, across)
    through = np.dot(inward, inputs.T)
    for at in range(size):
        s_services[rows[at]] += through[at]
    return loss


@inner
def adam(
    theta: Floats,
    slope: Floats,
    first: Floats,
    second: Floats,
    scale: float,
    rate: float,
    steps: float,
) -> None:
    """One step of Adam, in place; `slope` times `scale` is the gradient."""
    rise = np.float32(rate * math.sqrt(1.0 - 0.99**steps) / (1.0 - 0.9**steps))
    share = np.float32(scale)
    for at in range(len(theta)):
        gradient = slope[at] * share
        first[at] += (_ONE - _FADE_FIRST) * (gradient - first[at])
        second[at] += (_ONE - _FADE_SECOND) * (gradient * gradient - second[at])
        theta[at] -= rise * first[at] / (np.sqrt(second[at]) + _TINY)


@kernel(F4, F4, F4, F4x2, ROW, I8, INT, FLOAT, FLOAT)
def train(
    theta: Floats,
    first: Floats,
    second: Floats,
    starts: Floats,
    lived: Numbers,
    sizes: npt.NDArray[np.int64],
    known: int,
    rate: float,
    steps: float,
) -> float:
    """Learn from a mini-batch of segments, in place; the mean log-loss before.

    Parameters
    ----------
    theta, first, second
        Weights, and the moments of their gradients.
    starts
        Hidden state before each segment.
    lived
        Of each segment `STEPS` inputs, as many gaps, as many targets.
    sizes
        Targets of each segment that are known.
    known
        Rows of services that have a probability.
    rate, steps
        Length of a step, and how many there were, this one included.
    """
    slope = np.zeros_like(theta)
    loss, count = 0.0, 0
    for one in range(len(sizes)):
        size = sizes[one]
        segment = np.empty(3 * size, np.uint16)
        for at in range(3):
            segment[at * size : (at + 1) * size] = lived[one, at * STEPS : at * STEPS + size]
        loss += learn_segment(theta, slope, starts[one], segment, known)
        count += size
    if count:
        adam(theta, slope, first, second, 1.0 / count, rate, steps)
    return loss / max(count, 1)


@kernel(F4, F4, INT, INT, F4)
def follow(theta: Floats, hidden: Floats, row: int, gap: int, after: Floats) -> None:
    """Fill in the hidden state after an input."""
    inputs, recurrent, gaps, _, services = parts(theta)
    given = np.dot(services[row], inputs) + gaps[gap]
    gate(given, np.dot(hidden, recurrent), hidden, np.empty(GATES, np.float32), after)


@kernel(F4, F4, INT, ROW, INT, F8)
def chances(
    theta: Floats, hidden: Floats, rows: int, listed: Numbers, known: int, found: Floats
) -> None:
    """Fill in the probability of each service listed, of all others, and of the unseen.

    Parameters
    ----------
    rows
        Rows of services that the network knows, the unseen among them.
    listed
        Services by column.
    known
        Services that there are.
    """
    _, _, _, biases, services = parts(theta)
    by_row = np.empty(rows, np.float32)
    for row in range(rows):
        by_row[row] = dot(services[row], hidden, WIDTH) + biases[row]
    softmax(by_row)
    columns, rest = len(listed), 1.0 - by_row[0]
    for column in range(columns):
        row = _row_of(listed[column, 0])
        share = by_row[row] if row < rows else 0.0
        if row > OWN:
            share /= (known - row) // SHARED + 1
        found[column] = share + _FLOOR
        rest -= share
    found[columns] = max(rest, 0.0) + _FLOOR
    found[columns + 1] = by_row[0] + _FLOOR
