"""How users come back to services, in whole numbers that survive encoding exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from streams.models.history import History
from streams.models.wire import Reader, Writer

__all__ = ["STATES", "Returns", "state_of"]

STATES = 1 + 3 * 7  # of a service for a user: never used, or by age and number of requests
_AGES = (0, 0, 1, 2, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 6)
_OFTEN = (0, 0, 1, 1, 2)
_RUNS, _SEEN, _KINDS = 8, 8, 3
_WINDOW = 20_000  # requests after which what was counted by state is halved
_CELL = 2_000  # and by run of repeats and number of services
_OWN = 4.0  # requests of a user's own that weigh as much as those of all


class Returns:
    """Counts of how users come back, shared by all of a partition.

    Idea: what a user asks for next depends on how long ago and how often they asked for each
    service, whichever it is; and whether they repeat, return or try a first one depends on the
    run of repeats they are in and on how many services they know.

    Parameters
    ----------
    hits
        Requests by state of the service that came.
    chances
        How often a service in that state might have come.
    kinds
        Repeats, returns and first uses, by run and number of services, flat.

    Examples
    --------
    >>> returns, history = Returns(), History([1, 1, 1])
    >>> for _ in range(50):
    ...     returns.learn_one(history, 1, services=4)
    >>> max(returns.kinds_of(history)) == returns.kinds_of(history)[0]
    True

    References
    ----------
    Ryabko (1980), Data compression by means of a "book stack", Problems of Information
    Transmission 16(4): a symbol's probability by how recently it was used.
    """

    __slots__ = ("_chances", "_hits", "_kinds")

    def __init__(
        self, hits: Sequence[int] = (), chances: Sequence[int] = (), kinds: Sequence[int] = ()
    ) -> None:
        self._hits = list(hits) or [0] * STATES
        self._chances = list(chances) or [0] * STATES
        self._kinds = list(kinds) or [0] * (_RUNS * _SEEN * _KINDS)

    def hazards(self) -> list[float]:
        """Probability that a service in a state comes next, by state; not normalised."""
        return [
            (hit + 0.2) / (chance + 4.0)
            for hit, chance in zip(self._hits, self._chances, strict=True)
        ]

    def kinds_of(self, history: History) -> tuple[float, float, float]:
        """Probability that this user repeats, returns to another service, or tries a first."""
        at = _cell(history)
        repeat, back, first = self._kinds[at : at + _KINDS]
        own_repeat, own_back, own_first = history.kinds
        prior = _OWN / (repeat + back + first + 0.75)
        seen = own_repeat + own_back + own_first + _OWN
        return (
            (own_repeat + (repeat + 0.25) * prior) / seen,
            (own_back + (back + 0.25) * prior) / seen,
            (own_first + (first + 0.25) * prior) / seen,
        )

    def learn_one(self, history: History, item: int, services: int) -> None:
        """Count that `item`, of so many `services`, came after this history."""
        chances, now = self._chances, len(history.items)
        chances[0] += services - len(history.seen)
        for packed in history.seen.values():
            chances[state_of(now - (packed >> 16), packed & 0xFFFF)] += 1
        packed = history.seen.get(item, 0)
        state = state_of(now - (packed >> 16), packed & 0xFFFF) if packed else 0
        self._hits[state] += 1
        if sum(self._hits) > _WINDOW:
            self._hits = [n >> 1 for n in self._hits]
            self._chances = [n >> 1 for n in chances]
        at = _cell(history)
        self._kinds[at + history.kind(item)] += 1
        if sum(self._kinds[at : at + _KINDS]) > _CELL:
            self._kinds[at : at + _KINDS] = [n >> 1 for n in self._kinds[at : at + _KINDS]]

    def write(self, out: Writer) -> None:
        """Append these counts."""
        out.uints(self._hits)
        out.uints(self._chances)
        out.uints(self._kinds)

    @classmethod
    def read(cls, data: Reader) -> Self:
        """The counts that `write` appended."""
        sizes = (STATES, STATES, _RUNS * _SEEN * _KINDS)
        return cls(*(data.uints(size) for size in sizes))


def state_of(age: int, requests: int) -> int:
    """State of a service its user asked for `requests` times, the last `age` requests ago."""
    old = _AGES[age] if age < 17 else 6
    return 1 + 3 * old + (_OFTEN[requests] if requests < 4 else 2)


def _cell(history: History) -> int:
    return (min(history.run, _RUNS - 1) * _SEEN + min(len(history.seen), _SEEN - 1)) * _KINDS
