"""The mixture and the recurrent network together, as machine code: prediction and learning."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from streams.models.kernels import (
    F8,
    INT,
    F8x2,
    Record,
    Records,
    Table,
    array_of,
    inner,
    kernel,
    record,
)
from streams.models.logarithm import logarithms
from streams.models.next_request.candidates import CANDIDATES
from streams.models.next_request.mixing import (
    BUCKETS,
    FORECASTS,
    GROUPS,
    SETS,
    calibrate,
    normalise,
)
from streams.models.recurrent.network import NETWORK, TRAILS, WIDTH, NetworkWeights
from streams.models.recurrent.outputs import learn_outputs, score
from streams.models.recurrent.unit import PASS, follow, learn_unit, note

__all__ = [
    "JOINT",
    "Joined",
    "follow_and_join",
    "follow_and_join_all",
    "joint_of",
    "learn_joined",
    "room_for",
]

_STEP, _EARLY = 0.0005, 5.0  # learning rate of the weights; how much longer the first steps are
_CORRECTION = 0.02  # learning rate of the calibration
_LEAST = 1e-12

_WEIGHTS = record(mixture=np.float32, network=np.float32, steps=np.float32)


def joint_of(sets: int) -> np.dtype[Any]:
    """The form of the weights of the two: for all contexts and by context; shifts of top log-odds."""
    return record(everywhere=_WEIGHTS, sets=(_WEIGHTS, (sets,)), shifts=(np.float64, (BUCKETS,)))


JOINT = joint_of(SETS)
_JOINTS = array_of(JOINT)
# How a joint prediction came about, for what is learnt from its outcome.
_MADE = record(
    run=PASS,
    mixture=np.float64,  # mean log-probability of each of the two under the joint prediction
    network=np.float64,
    top=np.int64,
    bucket=np.int64,
    sets=(np.int64, (GROUPS,)),
)
_MADES = array_of(_MADE)
_MIXED, _OWN, _ALONE = 0, 1, 2  # rows of the table


class Joined(NamedTuple):
    """A prediction of the mixture and the network together."""

    table: Table  # by column: probability, log-probabilities of the network and of the mixture
    made: Records  # one: how it came about


def room_for(columns: int) -> Joined:
    """What a prediction of so many columns is filled in."""
    return Joined(np.empty((3, columns)), np.empty(1, _MADE))


@inner
def weights_of(joint: Record, made: Record) -> tuple[float, float]:
    """The weights of mixture and network: those for all, and those of the contexts."""
    mixture, network = joint.everywhere.mixture, joint.everywhere.network
    for at in made.sets:
        mixture += joint.sets[at].mixture
        network += joint.sets[at].network
    return mixture, network


@inner
def join(table: Table, joint: Record, made: Record) -> None:
    """Mix as the experts of the mixture are mixed; what the network adds stands in the row."""
    mixed, own, alone = table[_MIXED], table[_OWN], table[_ALONE]
    width = len(mixed)
    mixture, network = weights_of(joint, made)
    for column in range(width):
        mixed[column] += mixture * alone[column] + network * own[column]
    top = normalise(mixed)
    made.mixture = made.network = 0.0
    for column in range(width):
        made.mixture += mixed[column] * alone[column]
        made.network += mixed[column] * own[column]
    made.top, made.bucket = top, calibrate(mixed, top, joint.shifts)


@inner
def follow_and_score(
    network: NetworkWeights,
    trail: Record,
    candidates: Records,
    forecast: Record,
    table: Table,
    made: Record,
) -> None:
    """Fill in what the network says by itself, and what it adds in the row of the joint prediction."""
    hidden = follow(network.unit[0], network.services, trail, made.run)
    made.sets[:] = forecast.sets
    score(network.services, hidden, candidates, table[_OWN], table[_MIXED])


@inner
def join_if_known(table: Table, joint: Record, made: Record, trail: Record, alone: Table) -> None:
    """Join to a prediction of the mixture; it stands alone where nothing is known of the user."""
    if trail.length:
        logarithms(alone + _LEAST, table[_ALONE])
        join(table, joint, made)
    else:
        table[_MIXED] = alone


@kernel(NETWORK, _JOINTS, TRAILS, CANDIDATES, F8, FORECASTS, F8x2, _MADES)
def follow_and_join(
    network: NetworkWeights,
    joints: Records,
    trails: Records,
    candidates: Records,
    alone: Table,
    forecasts: Records,
    table: Table,
    mades: Records,
) -> None:
    """Fill in the joint prediction; that of the mixture where nothing is known of the user.

    Parameters
    ----------
    candidates, alone, forecasts
        The mixture's prediction: services, probabilities, and how it came about.
    """
    made, trail = mades[0], trails[0]
    follow_and_score(network, trail, candidates, forecasts[0], table, made)
    join_if_known(table, joints[0], made, trail, alone)


@kernel(NETWORK, _JOINTS, TRAILS, CANDIDATES, F8x2, F8, FORECASTS, F8x2, _MADES)
def follow_and_join_all(
    network: NetworkWeights,
    joints: Records,
    trails: Records,
    candidates: Records,
    phases: Table,
    chances: Table,
    forecasts: Records,
    table: Table,
    mades: Records,
) -> None:
    """Fill in the joint prediction over all phases, and those of each in place of the mixture's.

    Parameters
    ----------
    phases
        The mixture's predictions: phases x columns.
    chances
        Probability of each phase.
    forecasts
        How the mixture's of the last phase came about.
    """
    made, trail = mades[0], trails[0]
    follow_and_score(network, trail, candidates, forecasts[0], table, made)
    added, whole = table[_MIXED].copy(), np.zeros(len(table[_MIXED]))
    made.sets[-1] -= len(phases)
    for phase in range(len(phases)):
        made.sets[-1] += 1
        table[_MIXED] = added
        join_if_known(table, joints[0], made, trail, phases[phase])
        phases[phase] = table[_MIXED]
        whole += chances[phase] * phases[phase]
    table[_MIXED] = whole


@inner
def move(weights: Record, mixture: float, network: float) -> None:
    """Take one step along the gradients of the two weights, in place."""
    weights.steps = min(weights.steps + np.float32(1.0), np.float32(1e6))
    step = _STEP * (1.0 + _EARLY / math.sqrt(weights.steps))
    weights.mixture += step * mixture
    weights.network += step * network


@inner
def learn_joint(table: Table, joint: Record, made: Record, came: int) -> None:
    """Move weights and calibration, in place, once the service of a column came."""
    mixture, network = table[_ALONE, came] - made.mixture, table[_OWN, came] - made.network
    move(joint.everywhere, mixture, network)
    for at in made.sets:
        move(joint.sets[at], mixture, network)
    error = (came == made.top) - table[_MIXED, made.top]
    joint.shifts[made.bucket] += _CORRECTION * error


@kernel(NETWORK, _JOINTS, TRAILS, CANDIDATES, F8x2, _MADES, INT, INT, INT)
def learn_joined(
    network: NetworkWeights,
    joints: Records,
    trails: Records,
    candidates: Records,
    table: Table,
    mades: Records,
    came: int,
    row: int,
    gap: int,
) -> None:
    """Learn, in place, that the service of a column came; then let the user's memory go on.

    Parameters
    ----------
    came
        Its column in the prediction.
    row, gap
        Its row in the network, and the bucket of the gap before it.
    """
    made, trail, services = mades[0], trails[0], network.services
    if trail.length:
        learn_joint(table, joints[0], made, came)
        back, hidden = np.zeros(WIDTH, np.float32), made.run.states[trail.length]
        learn_outputs(services, hidden, candidates, table[_OWN], table[_MIXED], came, back)
        learn_unit(network.unit[0], services, trail, made.run, back)
    note(trail, made.run, row, gap)
