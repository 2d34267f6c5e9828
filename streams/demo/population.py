"""Synthetic users with habits; all data are generated, and determined by a seed.

A user works in sessions: step after step of a routine of his own over a few composites, with
log-normal gaps around his own pace, and comes back after a while. Half way through the live part
some users drift: they change to another routine. Some come for the first time in the live part.
Few styles are popular, most are the favourites of a few (Zipf's law), as in published traces.

Times are those of the studio, fifteen times faster than life: a session of ten minutes, a pause of
forty.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from streams.demo.studio import FINISHES, draw, guide

__all__ = ["LEAD_S", "SyntheticPopulation", "SyntheticRequest", "SyntheticUser", "UserHabit"]

LEAD_S = 10.0  # of the live part fill the pool, which was empty, before anything is counted
STYLES = 3  # of a user, at most
STEPS = (3, 6)  # least and greatest number of composites of a routine
LOYALTY = (0.75, 0.97)  # least and greatest probability of the next step of the routine
PACE_S = (3.0, 7.0)  # least and greatest median gap between requests of a session
SPREAD = 0.5  # standard deviation of the logarithm of a gap, and of a pause
LENGTH = 8.0  # mean number of requests of a session
AWAY_S = 160.0  # median pause between sessions
DRIFTERS = 0.2  # share of the users who drift
NEWCOMERS = 0.1  # share of the users who are new in the live part


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticRequest:
    """A request that a synthetic user makes at a given time."""

    at_s: float  # negative in the past, and in what leads to the live part
    user: str
    service: str
    first: bool = False  # of its session
    new: bool = False  # the user is a newcomer


@dataclass(frozen=True, slots=True)
class UserHabit:
    """A Markov chain: with probability `loyalty` the next of the routine, otherwise any of it."""

    routine: Sequence[str]
    loyalty: float

    def after(self, service: str | None, chance: random.Random) -> str:
        """The composite requested after `service`, or as the first of a session."""
        if service not in self.routine or chance.random() > self.loyalty:
            return chance.choice(self.routine)
        return self.routine[(self.routine.index(service) + 1) % len(self.routine)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticUser:
    """A user with a habit and a pace."""

    name: str
    pace_s: float
    habit: UserHabit
    later: UserHabit  # the habit after the drift; for most users the same one
    new: bool

    def session(
        self, start_s: float, drift_s: float, chance: random.Random
    ) -> Iterator[SyntheticRequest]:
        """The requests of one session."""
        at_s, service, first = start_s, None, True
        while True:
            habit = self.habit if at_s < drift_s else self.later
            service = habit.after(service, chance)
            yield SyntheticRequest(
                at_s=at_s, user=self.name, service=service, first=first, new=self.new
            )
            if chance.random() < 1 / LENGTH:
                return
            at_s += chance.lognormvariate(math.log(self.pace_s), SPREAD)
            first = False


@dataclass(frozen=True)
class SyntheticPopulation:
    """Users and their requests; equal arguments give equal requests.

    Parameters
    ----------
    users
        Number of users.
    styles
        Number of styles of the studio.
    past_s, live_s
        Length of the past, which newcomers have not, and of the live part.
    seed
        Seed of all random choices.
    """

    users: int
    styles: int
    past_s: float
    live_s: float
    seed: int

    def past(self) -> list[SyntheticRequest]:
        """The requests before the lead, in order."""
        return [ask for ask in self._requests if ask.at_s < -LEAD_S]

    def live(self) -> list[SyntheticRequest]:
        """The requests of the lead and the live part, in order; sessions may have begun before."""
        return [ask for ask in self._requests if ask.at_s >= -LEAD_S]

    @cached_property
    def people(self) -> tuple[SyntheticUser, ...]:
        """The users."""
        chance = random.Random(f"users/{self.seed}")  # noqa: S311 - a simulation
        return tuple(self._user(number, chance) for number in range(self.users))

    @cached_property
    def _requests(self) -> list[SyntheticRequest]:
        chance = random.Random(f"requests/{self.seed}")  # noqa: S311 - a simulation
        asked = [ask for user in self.people for ask in self._of(user, chance)]
        return sorted((ask for ask in asked if ask.at_s < self.live_s), key=lambda ask: ask.at_s)

    def _user(self, number: int, chance: random.Random) -> SyntheticUser:
        habit = self._habit(chance)
        drifts = chance.random() < DRIFTERS
        return SyntheticUser(
            name=f"synthetic-{number:04}",
            pace_s=chance.uniform(*PACE_S),
            habit=habit,
            later=self._habit(chance) if drifts else habit,
            new=chance.random() < NEWCOMERS,
        )

    def _habit(self, chance: random.Random) -> UserHabit:
        """A routine over a user's styles, drawing first; and what finishes an image."""
        popularity = [1 / rank for rank in range(1, self.styles + 1)]
        styles = dict.fromkeys(chance.choices(range(self.styles), popularity, k=STYLES))
        may = [step(style) for style in styles for step in (draw, guide)]
        may.append(chance.choice(FINISHES))
        number = min(len(may), chance.randint(*STEPS))
        chosen = sorted(chance.sample(range(len(may)), number))
        return UserHabit([may[step] for step in chosen], chance.uniform(*LOYALTY))

    def _of(self, user: SyntheticUser, chance: random.Random) -> Iterator[SyntheticRequest]:
        """All that a user asks for; his first session begins within the first round of sessions."""
        round_s = AWAY_S + LENGTH * user.pace_s
        start_s = chance.uniform(0, round_s) - (0.0 if user.new else self.past_s)
        while start_s < self.live_s:
            session = list(user.session(start_s, self.live_s / 2, chance))
            yield from session
            start_s = session[-1].at_s + chance.lognormvariate(math.log(AWAY_S), SPREAD)
