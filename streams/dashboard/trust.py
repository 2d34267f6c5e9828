"""How far vectors are to be trusted: what they promised against what came."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from streams.dashboard.database import Row

__all__ = ["KeptPromise", "TrustFigures", "sureness", "trust"]

BINS = 10
LEAST = 1e-4  # a probability of less counts as this much: one surprise does not hide the rest
FEW = 30  # vectors, or requests; from fewer nothing is concluded
DRIFT_LOSS = 0.25  # nats by which the newest vectors are worse than the rest


@dataclass(frozen=True, slots=True)
class KeptPromise:
    """What was promised of some entries of vectors, and what came."""

    name: str
    promised: float
    came: int
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustFigures:
    """The figures of a sample of vectors."""

    vectors: int
    services: list[KeptPromise]  # by composite, most promised first
    bins: list[KeptPromise]  # by what was promised, in tenths
    seconds: list[int]
    loss: list[float | None]  # of the next service, in nats, in steps of time
    guessed: list[float | None]  # share of next services that were the first of their vector

    @property
    def error(self) -> float | None:
        """The mean distance of promised and came, over all entries; None of too few vectors."""
        entries = sum(one.entries for one in self.bins)
        if self.vectors < FEW or not entries:
            return None
        return sum(abs(one.promised - one.came) for one in self.bins) / entries

    @property
    def newest(self) -> tuple[float, float] | None:
        """The loss of the last sixth of the time, and of what was before; None: too few vectors."""
        known = [loss for loss in self.loss if loss is not None]
        few = max(1, len(known) // 6)
        if len(known) < 4 or self.vectors < FEW:
            return None
        return _mean(known[-few:]), _mean(known[:-few])

    @property
    def drifts(self) -> bool:
        """Whether users behave otherwise than they did."""
        return self.newest is not None and self.newest[0] - self.newest[1] > DRIFT_LOSS


def trust(rows: Iterable[Row]) -> TrustFigures:
    """The figures of rows of the query `promises`."""
    found = list(rows)
    by_time: defaultdict[int, list[tuple[float, bool]]] = defaultdict(list)
    for row in found:
        steps = by_time[row["at_ms"]]
        if row["next"] is not None:
            steps.append((_loss(row), row["services"][:1] == [row["next"]]))
    times = sorted(by_time)
    return TrustFigures(
        vectors=len(found),
        services=_by_service(found),
        bins=_by_tenth(found),
        seconds=[at_ms // 1000 for at_ms in times],
        loss=[_mean([loss for loss, _ in by_time[at]]) if by_time[at] else None for at in times],
        guessed=[_mean([right for _, right in by_time[at]]) if by_time[at] else None for at in times],
    )  # fmt: skip


def sureness(probabilities: Sequence[float], unseen: float) -> tuple[str, float]:
    """How sure a vector is, in a word, and the probability of its first service."""
    first = max(probabilities, default=0.0)
    if first >= 0.8:
        return "sure", first
    if first >= 0.5:
        return "likely", first
    return ("a guess", first) if first > unseen else ("not known yet", first)


def _loss(row: Row) -> float:
    chances = dict(zip(row["services"], row["probabilities"], strict=True))
    chance: float = chances[row["next"]] if row["next"] in chances else row["unseen"]
    return -math.log(max(LEAST, chance))


def _by_service(rows: Iterable[Row]) -> list[KeptPromise]:
    promised: defaultdict[str, float] = defaultdict(float)
    came: defaultdict[str, int] = defaultdict(int)
    entries: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        for service, chance in zip(row["services"], row["within"], strict=True):
            promised[service] += chance
            entries[service] += 1
        for service in row["came"]:
            came[service] += 1
    made = [KeptPromise(s, promised[s], came[s], entries[s]) for s in promised.keys() | came.keys()]
    return sorted(made, key=lambda one: (-one.promised, one.name))


def _by_tenth(rows: Iterable[Row]) -> list[KeptPromise]:
    promised, came, entries = [0.0] * BINS, [0] * BINS, [0] * BINS
    for row in rows:
        for service, chance in zip(row["services"], row["within"], strict=True):
            place = min(BINS - 1, int(chance * BINS))
            promised[place] += chance
            came[place] += service in row["came"]
            entries[place] += 1
    return [
        KeptPromise(f"{10 * n} to {10 * n + 10} %", promised[n], came[n], entries[n])
        for n in range(BINS)
        if entries[n]
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
