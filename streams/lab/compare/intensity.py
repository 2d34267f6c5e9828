"""At which rate all users together are expected to need each constituent, as time passes."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from streams.lab.models.silence import EDGES_MS, SilenceHazard, context_of, stage_of

__all__ = ["ConstituentIntensity"]

Numbers = NDArray[np.float64]

LATE = 10  # stage from which a silence is one between sessions: after 6 minutes
HALF_LIFE_MS = 3_600_000  # of what was asked lately, and of what was expected
DOUBT = 10.0  # requests as expected that both are weighed against
MOST = 4.0  # times what was expected, or so much less
FRAILTY = 4.0  # requests as expected that a user's own are weighed against


@dataclass(slots=True)
class _DemandTempo:
    """How much busier users are than expected: the hour, the day, a wave that nobody foresaw."""

    now_ms: int = 0
    rate: float = 0.0  # requests for each ms that are expected now
    expected: float = 0.0
    asked: float = 0.0

    def pass_to(self, now_ms: int) -> None:
        """Let time pass."""
        passed_ms = max(0, now_ms - self.now_ms)
        fade = 0.5 ** (passed_ms / HALF_LIFE_MS)
        self.expected = self.expected * fade + self.rate * passed_ms
        self.asked *= fade
        self.now_ms = max(now_ms, self.now_ms)

    @property
    def ratio(self) -> float:
        """What was asked to what was expected."""
        return min(MOST, max(1 / MOST, (self.asked + DOUBT) / (self.expected + DOUBT)))


@dataclass(slots=True)
class _SilentUser:
    """A user since the last request."""

    serial: int
    last_ms: int
    context: int
    at: NDArray[np.int64]  # constituents
    worth: Numbers  # of each being warm at the next request
    stage: int = 0
    since_ms: int = 0  # when the stage began
    rate: float = 0.0  # as it stands in the sum
    usual: float = 0.0  # of whoever is in this context and stage


@dataclass(slots=True)
class _UserFrailty:
    """How often a user asked in a context, against how often whoever is in it would have."""

    asked: float = 0.0
    expected: float = 0.0

    @property
    def frailty(self) -> float:
        """What the usual rate is to be multiplied by."""
        return (self.asked + FRAILTY) / (self.expected + FRAILTY)


class ConstituentIntensity:
    """The sum over users of hazard x worth, by constituent, exact at all times.

    What is warm for the next instant is used with a probability proportional to the instant, and
    no two users ask in the same one: so the sum of the users' rates is the marginal value of
    memory time, whatever the users do later, and no horizon has to be chosen. Users who come back
    after a pause do so together, by the hour or for a common cause: their rates are multiplied by
    how many came lately to how many were expected. A user's own rate in a context is that of all
    who are in it times a gamma frailty (Vaupel, Manton, Stallard, Demography 16(3), 1979), or who
    asks by chance would be taken for who has done all there was to do.

    Parameters
    ----------
    constituents
        How many there are.
    ahead_ms
        A user counts with the higher of the hazards now and after this time: what is started
        now is ready then, and what would be wanted again by then is not given up before.
    """

    def __init__(self, constituents: int, ahead_ms: int) -> None:
        self._early, self._late = np.zeros((2, constituents))
        self._tempo = _DemandTempo()
        self._ahead_ms = ahead_ms
        self._silence = SilenceHazard()
        self._users: dict[str, _SilentUser] = {}
        self._own: dict[tuple[str, int], _UserFrailty] = {}  # by user and context
        self._due: list[tuple[int, int, str]] = []  # when a stage ends, serial, user
        self._serial = count()

    @property
    def worth(self) -> Numbers:
        """Of each constituent, for each ms of being warm."""
        worth: Numbers = self._early + self._tempo.ratio * self._late
        return worth

    def heard(
        self, user: str, now_ms: int, within: float, at: NDArray[np.int64], worth: Numbers
    ) -> None:
        """Take a request of a user in, with what the next one is expected to be worth."""
        old = self._users.get(user)
        gap_ms = None
        if old:
            gap_ms = now_ms - old.last_ms
            self._leave(user, old, now_ms, asked=True)
        new = _SilentUser(next(self._serial), now_ms, context_of(within, gap_ms), at, worth)
        self._users[user] = new
        self._enter(user, new, 0, now_ms)

    def until(self, now_ms: int, grain_ms: int) -> Iterator[int]:
        """Let time pass: times at which the rates have changed, at most one a grain."""
        while self._due and self._due[0][0] <= now_ms:
            end_ms = min(now_ms, (self._due[0][0] // grain_ms + 1) * grain_ms)
            while self._due and self._due[0][0] <= end_ms:
                self._pass(*heapq.heappop(self._due))
            yield end_ms

    def _pass(self, at_ms: int, serial: int, user: str) -> None:
        silent = self._users[user]
        if silent.serial == serial:
            self._leave(user, silent, at_ms)
            self._enter(user, silent, silent.stage + 1, at_ms)

    def _leave(self, user: str, silent: _SilentUser, at_ms: int, *, asked: bool = False) -> None:
        own = self._own[user, silent.context]
        own.asked += asked
        own.expected += silent.usual * (at_ms - silent.since_ms)
        self._silence.leave(silent.context, silent.stage, silent.since_ms, at_ms, asked=asked)
        self._count(silent, at_ms, -silent.rate)
        if silent.stage >= LATE:
            self._tempo.asked += asked

    def _count(self, silent: _SilentUser, at_ms: int, rate: float) -> None:
        late = silent.stage >= LATE
        (self._late if late else self._early)[silent.at] += rate * silent.worth
        self._tempo.pass_to(at_ms)
        if late:
            self._tempo.rate = max(0.0, self._tempo.rate + rate)

    def _enter(self, user: str, silent: _SilentUser, stage: int, at_ms: int) -> None:
        silent.stage, silent.since_ms = stage, at_ms
        self._silence.enter(silent.context, stage, at_ms)
        soon = stage_of(at_ms - silent.last_ms + self._ahead_ms)
        stages = range(stage, max(stage, soon) + 1)
        rates = [self._silence.rate(silent.context, s, at_ms) for s in stages]
        own = self._own.setdefault((user, silent.context), _UserFrailty())
        silent.usual, silent.rate = rates[0], max(rates) * own.frailty
        self._count(silent, at_ms, silent.rate)
        if stage + 1 < len(EDGES_MS):
            end_ms = silent.last_ms + EDGES_MS[stage + 1]
            heapq.heappush(self._due, (end_ms, silent.serial, user))
