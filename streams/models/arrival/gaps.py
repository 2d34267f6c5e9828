"""When: the distribution of the time between a user's requests.

This is no River estimator: a River regressor predicts a number instead of a distribution, and
River's `proba.ContinuousDistribution` must be able to revert an observation, which halved counts
cannot, and says nothing about a gap that has already lasted for some time.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from streams.models.counts import ROW, empty, grown, total, visit
from streams.models.kernels import FLOAT, INT, Records, inner, kernel, named

__all__ = ["GAP", "GapHistogram", "GapOutlook", "GapRows", "bucket_of", "outlook", "within"]

_PARTS = 4  # buckets in an octave
GAP = 400, 64  # visits after which counts are halved, so that old habits fade; most buckets in use
_LEAST = 1e-4  # probability of which odds are taken


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
def _below(row: Records, horizon_ms: int) -> float:
    bucket, whole = bucket_of(horizon_ms), 0.0
    for at in range(len(row)):
        if row[at].key < bucket:
            whole += row[at].count
        elif row[at].key == bucket:
            low = _edge(bucket)
            whole += row[at].count * (horizon_ms - low) / (_edge(bucket + 1) - low)
    return whole


@inner
def _share(row: Records, horizon_ms: int, prior: float, weight: float) -> float:
    whole = total(row) + weight
    return (_below(row, horizon_ms) + prior * weight) / whole if whole else prior


@inner
def _logit(probability: float) -> float:
    inside = min(max(probability, _LEAST), 1.0 - _LEAST)
    return math.log(inside / (1.0 - inside))


class GapRows(NamedTuple):
    """Counted gaps that a user's next one is like."""

    own: Records  # of the user
    everyone: Records  # of all users
    situation: Records  # of all users after the same service and a like gap


GAP_ROWS = named(GapRows, own=ROW, everyone=ROW, situation=ROW)


@inner
def _blended(rows: GapRows, elapsed_ms: int, prior: float, lift: float) -> float:
    everyone = _share(rows.everyone, elapsed_ms, 0.0, 0.0)
    own = _share(rows.own, elapsed_ms, everyone, prior)
    if len(rows.situation) == 0:
        return own
    here = _share(rows.situation, elapsed_ms, everyone, 2.0 * prior)
    odds = _logit(own) + lift * (_logit(here) - _logit(everyone))
    return 1.0 / (1.0 + math.exp(-odds))


@kernel(GAP_ROWS, INT, INT, FLOAT, FLOAT)
def within(rows: GapRows, horizon_ms: int, passed_ms: int, prior: float, lift: float) -> float:
    """Probability that a gap which has not ended after `passed_ms` ends in the next `horizon_ms`.

    Parameters
    ----------
    rows
        The counted gaps.
    horizon_ms, passed_ms
        Not below zero.
    prior
        Gaps of all users that the user's own are weighed against.
    lift
        Of what the situation says beyond all gaps, in log-odds.
    """
    ended = _blended(rows, passed_ms + horizon_ms, prior, lift)
    if passed_ms == 0:
        return ended
    before = _blended(rows, passed_ms, prior, lift)
    return max(ended - before, 0.0) / max(1.0 - before, 1e-9)


@kernel(ROW, INT)
def _learn(row: Records, gap_ms: int) -> bool:
    return visit(row, bucket_of(gap_ms), *GAP)


@inner
def _quantile(row: Records, share: float) -> float:
    wanted, before, bucket = share * total(row), 0.0, -1
    for _ in range(len(row)):
        following, count = 1 << 16, 0
        for at in range(len(row)):
            if row[at].count and bucket < row[at].key < following:
                following, count = int(row[at].key), int(row[at].count)
        bucket = following
        if count and before + count >= wanted:
            low = _edge(bucket)
            return low + (_edge(bucket + 1) - low) * (wanted - before) / count
        before += count
    return 0.0


@kernel(ROW, FLOAT)
def _quantile_of(row: Records, share: float) -> float:
    return _quantile(row, share)


@kernel(GAP_ROWS, INT, FLOAT, FLOAT)
def outlook(
    rows: GapRows, horizon_ms: int, prior: float, lift: float
) -> tuple[float, float, float, float, float]:
    """`within` the horizon and half of it, and the gaps that 10, 50 and 90 % stay below, in ms.

    The quantiles are the user's own from `prior` gaps on, before that those of all users.
    """
    known = rows.own if total(rows.own) >= prior else rows.everyone
    return (
        _blended(rows, horizon_ms, prior, lift),
        _blended(rows, horizon_ms // 2, prior, lift),
        _quantile(known, 0.1),
        _quantile(known, 0.5),
        _quantile(known, 0.9),
    )


class GapOutlook(NamedTuple):
    """When a user's next request comes."""

    within: float  # the horizon: a probability
    within_half: float  # of the horizon
    expected_ms: tuple[int, int, int]  # gap at the quantiles 10, 50 and 90 %


class GapHistogram:
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
    >>> gaps = GapHistogram()
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

    def __init__(self, row: Records | None = None) -> None:
        self.row = empty() if row is None else row

    @property
    def total(self) -> int:
        """Gaps counted, as far as they are not forgotten."""
        return int(self.row["count"].sum())

    def learn_one(self, gap_ms: int) -> None:
        """Count a gap; one below zero (a clock went backwards) counts as none at all."""
        while not _learn(self.row, max(gap_ms, 0)):
            self.row = grown(self.row, GAP[1])

    def within(self, horizon_ms: int, passed_ms: int = 0) -> float:
        """Probability that a gap open for `passed_ms` ends within the horizon."""
        rows = GapRows(empty(), self.row, empty())
        probability: float = within(rows, horizon_ms, passed_ms, 1.0, 0.0)
        return probability

    def quantile(self, share: float) -> int:
        """The gap, in ms, that `share` of the gaps stay below; 0 when none was seen."""
        return round(_quantile_of(self.row, share))
