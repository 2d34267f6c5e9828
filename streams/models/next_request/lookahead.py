"""What follows the next request: services two and three steps ahead that come soon enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.models.counts import ROW, empty, total
from streams.models.kernels import F8, FLOAT, Records, kernel
from streams.models.next_request.mixture import NextRequestMixture
from streams.models.next_request.prediction import MixturePrediction
from streams.models.next_request.state_keys import State, order_keys, pace_of
from streams.models.next_request.user_profile import UserProfile

__all__ = ["LookAhead", "expected_within", "later"]

LEAST = 0.25  # probability below which a path is not followed: few are worth a look
_PRIOR = 4.0  # visits of a service that those of a pair are weighed against
_NONE = empty()

Chances = npt.NDArray[np.float64]
# Of a service (number plus 1) the probability that the gap after it fits into a part of the horizon.
InTime = Callable[[int, int], float]


class LookAhead(NamedTuple):
    """What a user is expected to ask for within a horizon."""

    alone: list[float]  # by column, the chance that the next request is for it and comes by then
    within: list[float]  # the same with the second and third request as well
    soon: float  # that the next request comes by then
    expected_ms: tuple[int, int, int]  # when the next request comes: 10, 50 and 90 % quantile


class _ServicePath(NamedTuple):
    """Services that may come one after the other, by number plus 1; 0 is none."""

    before: int
    last: int
    chance: float  # that they come, soon enough
    met: tuple[int, ...]  # services on the way, by number


@kernel(ROW, ROW, FLOAT, F8)
def _follow(pair: Records, single: Records, chance: float, out: Chances) -> None:
    """Add to `out`, by service number, what follows a path that comes with this chance."""
    pairs, singles = total(pair), total(single)
    share = chance * _PRIOR / (pairs + _PRIOR) / (singles + 1.0)
    for at in range(len(single)):
        out[single[at].key] += share * single[at].count
    for at in range(len(pair)):
        out[pair[at].key] += chance * pair[at].count / (pairs + _PRIOR)


def expected_within(
    mixture: NextRequestMixture,
    state: State,
    profile: UserProfile,
    prediction: MixturePrediction,
    horizon_ms: int,
) -> LookAhead:
    """By column the chance of being asked for within the horizon, and when the next request comes."""
    gap = mixture.outlook(state, profile, horizon_ms)
    chances = prediction.by(gap.within)[: len(prediction.candidates)]
    alone: list[float] = (chances * gap.within).tolist()
    if gap.within_half < LEAST or chances.max(initial=0.0) < LEAST:
        return LookAhead(alone, alone, gap.within, gap.expected_ms)
    first = chances.tolist()
    following = later(mixture, state, profile, prediction, first, horizon_ms, gap.expected_ms[1])
    both = [min(p + q, 1.0) for p, q in zip(alone, following, strict=True)]
    return LookAhead(alone, both, gap.within, gap.expected_ms)


def later(
    mixture: NextRequestMixture,
    state: State,
    profile: UserProfile,
    prediction: MixturePrediction,
    chances: Sequence[float],
    horizon_ms: int,
    gap_ms: int,
) -> list[float]:
    """By column of a prediction, the requests expected second and third, within the horizon.

    Idea: paths of services, by what followed one and two services among all users. Only likely
    ones are followed, so that the cost is that of a few rows. A path of so many requests counts
    as being in time when each gap fits into its equal part of the horizon; more are. A service
    counts where it is met first on its path: to come once within the horizon is enough.

    Parameters
    ----------
    prediction
        What the user is predicted to ask for next.
    chances
        By column, what they ask for within the horizon if they do ask by then.
    gap_ms
        What the next gap is taken to be: the one after it depends on it.
    """
    first = [(column, p) for column, p in enumerate(chances) if p >= LEAST]
    candidates = prediction.candidates
    items = candidates["service"] if prediction.others else np.arange(len(candidates))
    pace = pace_of(0, gap_ms)

    @cache
    def in_time(service: int, parts: int) -> float:
        after = None if service == profile.tail[0] else (pace, service - 1)
        return mixture.within(state, profile, horizon_ms // parts, after=after)

    numbered = [(int(items[column]), p) for column, p in first]
    found = _ahead(state, profile.tail[0], numbered, in_time, len(mixture.vocabulary(state)))
    by_column: list[float] = np.minimum(found[items], 1.0).tolist()
    return by_column


def _ahead(
    state: State,
    last: int,
    first: Iterable[tuple[int, float]],
    in_time: InTime,
    known: int,
) -> Chances:
    chances = np.zeros(known)
    for steps in (2, 3):
        paths = [
            _ServicePath(last, item + 1, p * in_time(last, steps), (item,)) for item, p in first
        ]
        found = np.zeros(known)
        for _ in range(steps - 1):
            found[:] = 0.0  # of shorter paths
            paths = [longer for p in paths for longer in _extended(state, p, in_time, steps, found)]
        chances += found
    return chances


def _extended(
    state: State, path: _ServicePath, in_time: InTime, steps: int, found: Chances
) -> Iterator[_ServicePath]:
    """Add what follows this path in time to `found`; the paths one longer that are likely."""
    chance = path.chance * in_time(path.last, steps) if path.chance >= LEAST else 0.0
    if chance < LEAST:
        return
    pair, single = (state.get(key, _NONE) for key in order_keys(path.before, path.last))
    own = np.zeros_like(found)
    _follow(pair, single, chance, own)
    for item, p in enumerate(own.tolist()):
        if p >= LEAST:
            yield _ServicePath(path.last, item + 1, p, (*path.met, item))
    own[list(path.met)] = 0.0
    found += own
