"""Synthetic users with habits. Everything here is made up; only the seed decides.

Each user has a habit: a Markov chain over a few composites, mostly going round a cycle of his
own. He comes in sessions, with log-normal gaps between requests around a pace of his own. Half
way through the live part some users drift: they take up another habit.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["SyntheticPopulation", "SyntheticRequest", "SyntheticUser", "UserHabit"]

CYCLE = (2, 4)  # composites of a habit, fewest and most
LOYALTY = (0.75, 0.97)  # probability of the next one in the cycle, least and most
PACE_S = (4.0, 10.0)  # median gap between requests of a session
SPREAD = 0.35  # sigma of the logarithm of a gap
LENGTH = 6.0  # mean requests of a session
AWAY_S = 600.0  # median time between sessions in the past
PAST_REQUESTS = 20  # of each user
DRIFTERS = 0.2  # part of the users who drift


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticRequest:
    """A request that somebody will make."""

    at_s: float  # since the beginning
    user: str
    tier: str
    service: str


@dataclass(frozen=True, slots=True)
class UserHabit:
    """Which composite follows which: the next of the cycle, or any."""

    cycle: Sequence[str]
    loyalty: float
    services: Sequence[str]

    def after(self, service: str | None, chance: random.Random) -> str:
        """The composite asked for after `service`, or first."""
        if service not in self.cycle or chance.random() > self.loyalty:
            return chance.choice(self.cycle if service is None else self.services)
        return self.cycle[(self.cycle.index(service) + 1) % len(self.cycle)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticUser:
    """Somebody with a habit."""

    name: str
    tier: str
    pace_s: float
    habit: UserHabit
    later: UserHabit  # the habit after the drift; the same for most

    def session(
        self, start_s: float, drift_s: float, chance: random.Random
    ) -> Iterator[tuple[float, str]]:
        """One session: when, and what."""
        at_s, service = start_s, None
        while True:
            habit = self.habit if at_s < drift_s else self.later
            service = habit.after(service, chance)
            yield at_s, service
            if chance.random() < 1 / LENGTH:
                return
            at_s += chance.lognormvariate(math.log(self.pace_s), SPREAD)


@dataclass(frozen=True)
class SyntheticPopulation:
    """Users, and what they ask for; the same for the same arguments.

    Parameters
    ----------
    services
        The composites.
    tiers
        Their share of the users.
    users
        How many.
    seed
        Decides everything.
    """

    services: Sequence[str]
    tiers: Mapping[str, float]
    users: int
    seed: int
    people: tuple[SyntheticUser, ...] = field(init=False)

    def __post_init__(self) -> None:
        chance = random.Random(f"users/{self.seed}")  # noqa: S311 - a simulation
        object.__setattr__(self, "people", tuple(self._user(n, chance) for n in range(self.users)))

    def past(self) -> list[SyntheticRequest]:
        """What everybody asked for before, in order; it ends at time 0."""
        chance = random.Random(f"past/{self.seed}")  # noqa: S311 - a simulation
        asked = [ask for user in self.people for ask in self._past_of(user, chance)]
        return sorted(asked, key=lambda ask: ask.at_s)

    def live(self, seconds: float, rate: float) -> list[SyntheticRequest]:
        """`rate` requests a second for so many seconds, in order.

        Sessions that had begun before are seen from their middle on, and the last are cut off.
        """
        chance = random.Random(f"live/{self.seed}")  # noqa: S311 - a simulation
        asked: list[tuple[float, int, SyntheticRequest]] = []
        before_s = 3 * LENGTH * max(PACE_S)
        start_s = -before_s
        while start_s < seconds:
            user = chance.choice(self.people)
            for at_s, service in user.session(start_s, seconds / 2, chance):
                if 0 <= at_s < seconds:
                    ask = SyntheticRequest(
                        at_s=at_s, user=user.name, tier=user.tier, service=service
                    )
                    heapq.heappush(asked, (at_s, len(asked), ask))
            start_s += chance.expovariate(rate / LENGTH)
        return [heapq.heappop(asked)[2] for _ in range(len(asked))]

    def _user(self, number: int, chance: random.Random) -> SyntheticUser:
        habit = self._habit(chance)
        drifts = chance.random() < DRIFTERS
        names, shares = zip(*self.tiers.items(), strict=True)
        return SyntheticUser(
            name=f"synthetic-{number:04}",
            tier=chance.choices(names, shares)[0],
            pace_s=chance.uniform(*PACE_S),
            habit=habit,
            later=self._habit(chance) if drifts else habit,
        )

    def _habit(self, chance: random.Random) -> UserHabit:
        cycle = chance.sample(self.services, chance.randint(*CYCLE))
        return UserHabit(cycle, chance.uniform(*LOYALTY), self.services)

    def _past_of(self, user: SyntheticUser, chance: random.Random) -> Iterator[SyntheticRequest]:
        """His last requests, told backwards from a session that ended a while ago."""
        found: list[tuple[float, str]] = []
        start_s = 0.0
        while len(found) < PAST_REQUESTS:
            session = list(user.session(start_s, math.inf, chance))
            found += session
            start_s = session[-1][0] + chance.lognormvariate(math.log(AWAY_S), 0.5)
        end_s = start_s
        for at_s, service in found[:PAST_REQUESTS]:
            yield SyntheticRequest(
                at_s=at_s - end_s, user=user.name, tier=user.tier, service=service
            )
