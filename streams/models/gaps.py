"""When: the distribution of the time between a user's requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from streams.models.wire import Reader, Writer

__all__ = ["Gaps"]

_PARTS = 4  # buckets in an octave
_LIMIT = 400  # visits after which counts are halved: old habits fade


class Gaps:
    """A histogram of gaps in quarter octaves, from a millisecond to centuries.

    Idea: gaps are heavy-tailed, so buckets are even in the logarithm; inside one the gap is
    taken as evenly spread. Counts are whole numbers, halved when their sum passes a limit.

    Guarantees: at most 256 buckets; `within` is monotone in the horizon and lies in [0, 1].

    Parameters
    ----------
    values
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

    __slots__ = ("total", "values")

    def __init__(self, values: Mapping[int, int] | None = None) -> None:
        self.values: dict[int, int] = dict(sorted((values or {}).items()))
        self.total = sum(self.values.values())

    def learn_one(self, gap_ms: int) -> None:
        """Count a gap; one below zero (a clock went backwards) counts as none at all."""
        bucket = _bucket(max(gap_ms, 0))
        self.values[bucket] = self.values.get(bucket, 0) + 1
        self.total += 1
        if self.total > _LIMIT:
            self.values = {b: n >> 1 for b, n in self.values.items() if n > 1}
            self.total = sum(self.values.values())

    def within(self, horizon_ms: int, prior: float = 0.0, weight: float = 0.0) -> float:
        """Probability that a gap ends within the horizon, `weight` visits' worth of it `prior`."""
        if self.total + weight <= 0.0:
            return prior
        return (self._below(horizon_ms) + prior * weight) / (self.total + weight)

    def quantile(self, share: float) -> int:
        """The gap, in ms, that `share` of the gaps stay below; 0 when none was seen."""
        wanted, before = share * self.total, 0
        for bucket in sorted(self.values):
            count = self.values[bucket]
            if before + count >= wanted:
                low, high = _edge(bucket), _edge(bucket + 1)
                return round(low + (high - low) * (wanted - before) / count)
            before += count
        return 0

    def write(self, out: Writer) -> None:
        """Append this histogram."""
        out.uint(len(self.values))
        buckets = sorted(self.values)
        out.uints(buckets)
        out.uints(self.values[b] for b in buckets)

    @classmethod
    def read(cls, data: Reader) -> Self:
        """The histogram that `write` appended."""
        entries = data.uint()
        buckets = data.uints(entries)
        return cls(dict(zip(buckets, data.uints(entries), strict=True)))

    def _below(self, horizon_ms: int) -> float:
        bucket = _bucket(horizon_ms)
        whole = float(sum(n for b, n in self.values.items() if b < bucket))
        low, high = _edge(bucket), _edge(bucket + 1)
        return whole + self.values.get(bucket, 0) * (horizon_ms - low) / max(high - low, 1e-9)


def _bucket(gap_ms: int) -> int:
    octave = (gap_ms + _PARTS).bit_length() - 3  # gaps below 4 ms have a bucket each
    return (octave << 2) + ((gap_ms + _PARTS) >> octave & 3)


def _edge(bucket: int) -> int:
    return ((_PARTS + (bucket & 3)) << (bucket >> 2)) - _PARTS
