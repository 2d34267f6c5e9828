"""What the network says of each service, and how that is learnt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.models.kernels import Records, Table, inner
from streams.models.recurrent.network import OTHERS, UNSEEN, WIDTH, compiled_row_of, product

__all__ = ["learn_outputs", "score"]

Floats = npt.NDArray[np.float32]

_LEAST = -16.0  # log-probability, as low as that of the experts of the mixture
_SMALL = 1e-4  # an error that is not worth a step
_OWN_RATE, _ADDED_RATE, _CALM = np.float32(0.5), np.float32(0.03), np.float32(0.5)


@inner
def row_at(candidates: Records, column: int) -> int:
    """The row of a column: of the service listed there, of all others, or of the unseen."""
    if column < len(candidates):
        return compiled_row_of(candidates[column].service)
    return OTHERS if column == len(candidates) else UNSEEN


@inner
def score(services: Records, hidden: Floats, candidates: Records, own: Table, added: Table) -> None:
    """Fill in by column the network's own log-probability, and what it adds to the mixture's."""
    highest, whole = -np.inf, 0.0
    for column in range(len(own)):
        service = services[row_at(candidates, column)]
        own[column] = product(service.own, hidden) + service.own_bias
        added[column] = product(service.added, hidden) + service.added_bias
        highest = max(highest, own[column])
    for column in range(len(own)):
        whole += np.exp(own[column] - highest)
    shift = highest + np.log(whole)
    for column in range(len(own)):
        own[column] = max(own[column] - shift, _LEAST)


@inner
def learn_outputs(
    services: Records, hidden: Floats, candidates: Records, own: Table, mixed: Table, came: int,
    back: Floats,
) -> None:  # fmt: skip
    """Move the vectors of all columns towards the one that came, in place.

    Parameters
    ----------
    own, mixed
        By column the network's own log-probability, and the probability that was given.
    came
        Column of the service that came.
    back
        The gradient of the hidden state is added to it.
    """
    for column in range(len(own)):
        is_it = column == came
        error, left = np.float32(np.exp(own[column]) - is_it), np.float32(mixed[column] - is_it)
        if abs(error) < _SMALL:
            continue
        service = services[row_at(candidates, column)]
        service.own_squares += error * error
        service.added_squares += left * left
        step = _OWN_RATE * error / (np.sqrt(service.own_squares) + _CALM)
        added_step = _ADDED_RATE * left / (np.sqrt(service.added_squares) + _CALM)
        for j in range(WIDTH):
            back[j] += error * service.own[j] + left * service.added[j]
            service.own[j] -= step * hidden[j]
            service.added[j] -= added_step * hidden[j]
        service.own_bias -= step
        service.added_bias -= added_step
