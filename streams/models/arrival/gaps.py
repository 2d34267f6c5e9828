"""When: the distribution of the time between a user's requests."""

from __future__ import annotations

import math

from streams.models.counts import Row, empty, grown, total, visit
from streams.models.kernels import FLOAT, INT, ROW, inner, kernel

__all__ = ["GAP", "Gaps", "bucket_of", "outlook", "within"]

_PARTS = 4  # buckets in an octave
GAP = 400, 64  # visits after which counts are halved: old habits fade; most buckets in use
_LEAST = 1e-4  # probability that odds are taken of


@inner
def bucket_of(gap_ms: int) -> int:
    """The quarter octave of a gap."""
    octave, parts = 0, gap_ms + _PARTS  # gaps below 4 ms have a bucket each
    while parts >= 2 * _PARTS:
        parts >>= 1
        octave += 1
    return octave * _PARTS + parts - _PARTS


@inner
def _edge(bucket: int) -> float:
    return (_PARTS + bucket % _PARTS) * 2.0 ** (bucket // _PARTS) - _PARTS


@inner
def _below(row: Row, horizon_ms: int) -> float:
    bucket, whole = bucket_of(horizon_ms), 0.0
    for at in range(len(row)):
        if row[at, 0] < bucket:
            whole += row[at, 1]
        elif row[at, 0] == bucket:
            low = _edge(bucket)
            whole += row[at, 1] * (horizon_ms - low) / (_edge(bucket + 1) - low)
    return whole


@inner
def _share(row: Row, horizon_ms: int, prior: float, weight: float) -> float:
    whole = total(row) + weight
    return (_below(row, horizon_ms) + prior * weight) / whole if whole else prior


@inner
def _logit(probability: float) -> float:
    inside = min(max(probability, _LEAST), 1.0 - _LEAST)
    return math.log(inside / (1.0 - inside))


@inner
def _by(own: Row, shared: Row, alike: Row, elapsed_ms: int, prior: float, lift: float) -> float:
    everyone = _share(shared, elapsed_ms, 0.0, 0.0)
    found = _share(own, elapsed_ms, everyone, prior)
    if len(alike) == 0:
        return found
    here = _share(alike, elapsed_ms, everyone, 2.0 * prior)
    odds = _logit(found) + lift * (_logit(here) - _logit(everyone))
    return 1.0 / (1.0 + math.exp(-odds))


@kernel(ROW, ROW, ROW, INT, INT, FLOAT, FLOAT)
def within(
    own: Row,
    shared: Row,
    alike: Row,
    horizon_ms: int,
    passed_ms: int,
    prior: float,
    lift: float,
) -> float:
    """Probability that a gap which has not ended after `passed_ms` ends in the next `horizon_ms`.

    Parameters
    ----------
    own, shared, alike
        Gaps of the user, of all users, and of all users in the same situation.
    horizon_ms, passed_ms
        Not below zero.
    prior
        Gaps of all users that the user's own are weighed against.
    lift
        Of what the situation says beyond all gaps, in log-odds.
    """
    found = _by(own, shared, alike, passed_ms + horizon_ms, prior, lift)
    if passed_ms == 0:
        return found
    before = _by(own, shared, alike, passed_ms, prior, lift)
    return max(found - before, 0.0) / max(1.0 - before, 1e-9)


@kernel(ROW, INT)
def _learn(row: Row, gap_ms: int) -> bool:
    return visit(row, bucket_of(gap_ms), *GAP)


@kernel(ROW, FLOAT)
def _quantile(row: Row, share: float) -> float:
    wanted, before, bucket = share * total(row), 0.0, -1
    for _ in range(len(row)):
        following, count = 1 << 16, 0
        for at in range(len(row)):
            if row[at, 1] and bucket < row[at, 0] < following:
                following, count = int(row[at, 0]), int(row[at, 1])
        bucket = following
        if count and before + count >= wanted:
            low = _edge(bucket)
            return low + (_edge(bucket + 1) - low) * (wanted - before) / count
        before += count
    return 0.0


@kernel(ROW, ROW, ROW, INT, FLOAT, FLOAT)
def outlook(
    own: Row, shared: Row, alike: Row, horizon_ms: int, prior: float, lift: float
) -> tuple[float, float, float, float]:
    """`within` the horizon, and the gaps that 10, 50 and 90 % stay below, in ms.

    The quantiles are the user's own from `prior` gaps on, before that those of all users.
    """
    known = own if total(own) >= prior else shared
    return (
        _by(own, shared, alike, horizon_ms, prior, lift),
        _quantile(known, 0.1),
        _quantile(known, 0.5),
        _quantile(known, 0.9),
    )


class Gaps:
    """A histogram of gaps in quarter octaves, from a millisecond to centuries.

    Idea: gaps are heavy-tailed, so buckets are even in the logarithm; inside one the gap is
    taken as evenly spread. Counts are whole numbers, halved when their sum passes a limit.

    Guarantees: at most 64 buckets; `within` is monotone in the horizon and lies in [0, 1].

    Parameters
    ----------
    row
        Visits by bucket.

    Examples
    --------
    >>> gaps = Gaps()
    >>> for gap in (1000, 2000, 4000, 8000):
    ...     gaps.learn_one(gap)
    >>> gaps.within(3000)
    0.5
    >>> 1000 <= gaps.quantile(0.5) <= 3000
    True

    References
    ----------
    Shahrad et al. (2020), Serverless in the wild, USENIX ATC, section 4: histograms of idle
    times decide how long to stay warm.
    """

    __slots__ = ("row",)

    def __init__(self, row: Row | None = None) -> None:
        self.row = empty() if row is None else row

    @property
    def total(self) -> int:
        """Gaps counted, as far as they are not forgotten."""
        return int(self.row[:, 1].sum())

    def learn_one(self, gap_ms: int) -> None:
        """Count a gap; one below zero (a clock went backwards) counts as none at all."""
        while not _learn(self.row, max(gap_ms, 0)):
            self.row = grown(self.row, GAP[1])

    def within(self, horizon_ms: int, passed_ms: int = 0) -> float:
        """Probability that a gap open for `passed_ms` ends within the horizon."""
        found: float = within(empty(), self.row, empty(), horizon_ms, passed_ms, 1.0, 0.0)
        return found

    def quantile(self, share: float) -> int:
        """The gap, in ms, that `share` of the gaps stay below; 0 when none was seen."""
        return round(_quantile(self.row, share))
