"""The gated recurrent unit as machine code: it follows a user's requests, and learns from them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.models.kernels import Record, Records, inner, record
from streams.models.recurrent.network import GATES, STEPS, WIDTH, product

__all__ = ["PASS", "follow", "learn_unit", "note"]

Floats = npt.NDArray[np.float32]

# What following a user leaves for learning, by step.
PASS = record(
    states=(np.float32, (STEPS + 1, WIDTH)),  # hidden, the one before the first step first
    gates=(np.float32, (STEPS, GATES)),  # update, reset, candidate
    kept=(np.float32, (STEPS, GATES)),  # contributions of the hidden states to them
)
_PARTS = np.float32(32_767.0)  # of a hidden state, as it is remembered
_ONE, _HALF = np.float32(1.0), np.float32(0.5)
_RATE, _CALM = np.float32(0.15), np.float32(0.1)
# Coefficients of the hyperbolic tangent, highest power first, and the argument at which it is 1.
_MOST = np.float32(7.90531110763549805)
_ABOVE = np.array(
    (-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
     1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03), np.float32,
)  # fmt: skip
_BELOW = np.array(
    (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03),
    np.float32,
)
_A, _B, _C, _D, _E, _F, _G = map(np.float32, _ABOVE)
_P, _Q, _R, _S = map(np.float32, _BELOW)


@inner
def tanh(value: Any) -> Any:
    """The hyperbolic tangent as a quotient of polynomials: no call, so several at once."""
    x = min(max(value, -_MOST), _MOST)
    s = x * x
    above = x * ((((((_A * s + _B) * s + _C) * s + _D) * s + _E) * s + _F) * s + _G)
    return above / (((_P * s + _Q) * s + _R) * s + _S)


@inner
def contribute(out: Floats, values: Floats, weights: Floats) -> None:
    """Add to `out` the sum of the rows of the weights, each times its value."""
    for at in range(len(values)):
        value, row = values[at], weights[at]
        for j in range(GATES):
            out[j] += value * row[j]


@inner
def gate(hidden: Floats, gates: Floats, kept: Floats, after: Floats) -> None:
    """Fill in the hidden state after an input, and turn its contributions into gates, in place."""
    for j in range(2 * WIDTH):
        gates[j] = _HALF + _HALF * tanh(_HALF * (gates[j] + kept[j]))
    for j in range(WIDTH):
        candidate = tanh(gates[2 * WIDTH + j] + gates[WIDTH + j] * kept[2 * WIDTH + j])
        gates[2 * WIDTH + j] = candidate
        after[j] = candidate + gates[j] * (hidden[j] - candidate)


@inner
def follow(unit: Record, services: Records, trail: Record, run: Record) -> Floats:
    """Fill in a pass over a user's last requests; the hidden state after them."""
    states, gates, kept = run.states, run.gates, run.kept
    for j in range(WIDTH):
        states[0, j] = trail.hidden[j] / _PARTS
    for step in range(trail.length):
        gates[step] = unit.gaps[trail.gaps[step]]
        kept[step] = np.float32(0.0)
        contribute(gates[step], services[trail.rows[step]].given, unit.inputs)
        contribute(kept[step], states[step], unit.recurrent)
        gate(states[step], gates[step], kept[step], states[step + 1])
    hidden: Floats = states[trail.length]
    return hidden


@inner
def note(trail: Record, run: Record, row: int, gap: int) -> None:
    """Let a user's memory go on by a request, after a pass over those before."""
    at = trail.length
    if at == STEPS:
        at -= 1
        for j in range(WIDTH):
            trail.hidden[j] = math.floor(run.states[1, j] * _PARTS + _HALF)
        for step in range(at):
            trail.rows[step], trail.gaps[step] = trail.rows[step + 1], trail.gaps[step + 1]
    trail.rows[at], trail.gaps[at], trail.length = row, gap, at + 1


@inner
def ungate(hidden: Floats, gates: Floats, kept: Floats, back: Floats, inward: Floats,
           across: Floats) -> None:  # fmt: skip
    """Fill in the gradients of the contributions of `gate` from `back`, that of its result."""
    for j in range(WIDTH):
        update, reset, candidate = gates[j], gates[WIDTH + j], gates[2 * WIDTH + j]
        bent = back[j] * (_ONE - update) * (_ONE - candidate * candidate)
        inward[j] = across[j] = back[j] * (hidden[j] - candidate) * update * (_ONE - update)
        slope = bent * kept[2 * WIDTH + j] * reset * (_ONE - reset)
        inward[WIDTH + j] = across[WIDTH + j] = slope
        inward[2 * WIDTH + j], across[2 * WIDTH + j] = bent, bent * reset


@inner
def through(out: Floats, weights: Floats, gradient: Floats) -> None:
    """Add to `out`, by row of the weights, its product with the gradient."""
    for at in range(len(out)):
        out[at] += product(weights[at], gradient)


@inner
def mean_square(gradient: Floats) -> np.float32:
    """The mean of the squares of a gradient."""
    return product(gradient, gradient) / np.float32(len(gradient))


@inner
def descend(weights: Floats, squares: Floats, values: Floats, gradient: Floats) -> None:
    """Move the rows of the weights, each by its value times the gradient; in place."""
    square = mean_square(gradient)
    for at in range(len(values)):
        value, row = values[at], weights[at]
        squares[at] += value * value * square
        step = _RATE * value / (np.sqrt(squares[at]) + _CALM)
        for j in range(len(gradient)):
            row[j] -= step * gradient[j]


@inner
def descend_one(row: Floats, squares: np.float32, gradient: Floats) -> np.float32:
    """Move a vector against its gradient, in place; its new sum of squares."""
    total = squares + mean_square(gradient)
    step = _RATE / (np.sqrt(total) + _CALM)
    for j in range(len(gradient)):
        row[j] -= step * gradient[j]
    return total


@inner
def learn_unit(unit: Record, services: Records, trail: Record, run: Record, back: Floats) -> None:
    """Learn by back-propagation through a pass, in place.

    Parameters
    ----------
    back
        Gradient of the hidden state after the pass; that of the one before it in the end.
    """
    inward, across = np.empty(GATES, np.float32), np.empty(GATES, np.float32)
    given = np.empty(WIDTH, np.float32)
    for at in range(trail.length):
        step = trail.length - 1 - at
        hidden, gates, gap = run.states[step], run.gates[step], trail.gaps[step]
        service = services[trail.rows[step]]
        ungate(hidden, gates, run.kept[step], back, inward, across)
        given[:] = np.float32(0.0)
        through(given, unit.inputs, inward)
        for j in range(WIDTH):
            back[j] *= gates[j]
        through(back, unit.recurrent, across)
        unit.gap_squares[gap] = descend_one(unit.gaps[gap], unit.gap_squares[gap], inward)
        descend(unit.inputs, unit.input_squares, service.given, inward)
        descend(unit.recurrent, unit.recurrent_squares, hidden, across)
        service.given_squares = descend_one(service.given, service.given_squares, given)
