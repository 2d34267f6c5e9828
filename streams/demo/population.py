"""Synthetic users with habits; all data are generated, and determined by a seed.

Each user has a habit: a Markov chain over a few composites that mostly follows the user's own
cycle. Requests come in sessions, with log-normal gaps around the user's own pace. Half way through
the live part some users drift: they change to another habit.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["SyntheticPopulation", "SyntheticRequest", "SyntheticUser", "UserHabit"]

CYCLE = (2, 4)  # minimum and maximum number of composites in a habit
LOYALTY = (0.75, 0.97)  # minimum and maximum probability of following the cycle
PACE_S = (4.0, 10.0)  # median gap between requests of a session
SPREAD = 0.35  # standard deviation of the logarithm of a gap
LENGTH = 6.0  # mean number of requests per session
AWAY_S = 600.0  # median time between sessions in the past
PAST_REQUESTS = 20  # per user
DRIFTERS = 0.2  # share of the users who drift


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticRequest:
    """A request that a synthetic user makes at a given time."""

    at_s: float  # relative to the start of the load; negative in the past
    user: str
    tier: str
    service: str


@dataclass(frozen=True, slots=True)
class UserHabit:
    """A Markov chain: with probability `loyalty` the next of the cycle, otherwise any service."""

    cycle: Sequence[str]
    loyalty: float
    services: Sequence[str]

    def after(self, service: str | None, chance: random.Random) -> str:
        """The composite requested after `service`, or as the first of a session."""
        if service not in self.cycle or chance.random() > self.loyalty:
            return chance.choice(self.cycle if service is None else self.services)
        return self.cycle[(self.cycle.index(service) + 1) % len(self.cycle)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticUser:
    """A user with a habit, a pace and a tier."""

    name: str
    tier: str
    pace_s: float
    habit: UserHabit
    later: UserHabit  # the habit after the drift; for most users the same one

    def session(
        self, start_s: float, drift_s: float, chance: random.Random
    ) -> Iterator[tuple[float, str]]:
        """The requests of one session: time and composite of each."""
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
    """Users and their requests; equal arguments give equal requests.

    Parameters
    ----------
    services
        The composites.
    tiers
        Share of the users in each tier.
    users
        Number of users.
    seed
        Seed of all random choices.
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
        """All requests of the past in order of time, before time 0."""
        chance = random.Random(f"past/{self.seed}")  # noqa: S311 - a simulation
        asked = [ask for user in self.people for ask in self._past_of(user, chance)]
        return sorted(asked, key=lambda ask: ask.at_s)

    def live(self, seconds: float, rate: float) -> list[SyntheticRequest]:
        """On average `rate` requests per second for `seconds`, in order of time.

        Sessions may begin before time 0 or continue after the end; those parts are left out.
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
        """The user's last requests, shifted in time so that the last session ended before 0."""
        requests: list[tuple[float, str]] = []
        start_s = 0.0
        while len(requests) < PAST_REQUESTS:
            session = list(user.session(start_s, math.inf, chance))
            requests += session
            start_s = session[-1][0] + chance.lognormvariate(math.log(AWAY_S), 0.5)
        end_s = start_s
        for at_s, service in requests[:PAST_REQUESTS]:
            yield SyntheticRequest(
                at_s=at_s - end_s, user=user.name, tier=user.tier, service=service
            )
