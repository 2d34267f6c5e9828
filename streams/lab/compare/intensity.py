"""The intensity, over time, with which all users together are expected to need a constituent."""

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

LATE = 10  # first stage of a silence between sessions: from 6 minutes on
HALF_LIFE_MS = 3_600_000  # of the counts of observed and of expected requests
DOUBT = 10.0  # pseudo-requests that shrink the ratio of the two towards 1
MOST = 4.0  # the ratio is at most this and at least its reciprocal
FRAILTY = 4.0  # pseudo-requests that shrink a user's frailty towards 1


@dataclass(slots=True)
class _DemandTempo:
    """The ratio of observed to expected demand: it follows the hour, the day, unforeseen waves."""

    now_ms: int = 0
    rate: float = 0.0  # expected requests per ms, now
    expected: float = 0.0
    asked: float = 0.0

    def pass_to(self, now_ms: int) -> None:
        """Advance the clock; older counts decay."""
        passed_ms = max(0, now_ms - self.now_ms)
        fade = 0.5 ** (passed_ms / HALF_LIFE_MS)
        self.expected = self.expected * fade + self.rate * passed_ms
        self.asked *= fade
        self.now_ms = max(now_ms, self.now_ms)

    @property
    def ratio(self) -> float:
        """Observed requests divided by expected ones, shrunk and bounded."""
        return min(MOST, max(1 / MOST, (self.asked + DOUBT) / (self.expected + DOUBT)))


@dataclass(slots=True)
class _SilentUser:
    """A user who has sent no request since the last one."""

    serial: int
    last_ms: int
    context: int
    at: NDArray[np.int64]  # numbers of the constituents
    worth: Numbers  # value of having each warm at the next request
    stage: int = 0
    since_ms: int = 0  # when the stage began
    rate: float = 0.0  # the user's hazard that the sum holds
    usual: float = 0.0  # hazard of all users in this context and stage


@dataclass(slots=True)
class _UserFrailty:
    """A user's requests in a context, against those expected of all users in it."""

    asked: float = 0.0
    expected: float = 0.0

    @property
    def frailty(self) -> float:
        """Factor of this user on the hazard of all users in the context."""
        return (self.asked + FRAILTY) / (self.expected + FRAILTY)


class ConstituentIntensity:
    """The sum over users of hazard times worth, by constituent, exact at all times.

    A constituent kept warm for a short interval is used in it with a probability proportional
    to its length, and no two users send a request at the same instant: so the sum of the users'
    intensities is the marginal value of warm time, whatever the users do later, and no horizon
    is needed. Users return from pauses together, at certain hours or for a common cause: the
    hazards of long silences are multiplied by the recent ratio of observed to expected requests.
    A user's hazard in a context is that of all users in it times a gamma frailty (Vaupel,
    Manton, Stallard, Demography 16(3), 1979), because users in one context differ.

    Parameters
    ----------
    constituents
        Number of constituents.
    ahead_ms
        A user counts with the highest hazard between now and this time ahead: an instance
        started now is ready then, and one that is wanted again by then is not ended before.
    """

    def __init__(self, constituents: int, ahead_ms: int) -> None:
        self._early, self._late = np.zeros((2, constituents))
        self._tempo = _DemandTempo()
        self._ahead_ms = ahead_ms
        self._silence = SilenceHazard()
        self._users: dict[str, _SilentUser] = {}
        self._own: dict[tuple[str, int], _UserFrailty] = {}  # by user and context
        self._due: list[tuple[int, int, str]] = []  # end of a stage, serial, user
        self._serial = count()

    @property
    def worth(self) -> Numbers:
        """Value of keeping each constituent warm, per ms."""
        worth: Numbers = self._early + self._tempo.ratio * self._late
        return worth

    def heard(
        self, user: str, now_ms: int, within: float, at: NDArray[np.int64], worth: Numbers
    ) -> None:
        """Count a user's request, with the worth of warm constituents at the next one."""
        old = self._users.get(user)
        gap_ms = None
        if old:
            gap_ms = now_ms - old.last_ms
            self._leave(user, old, now_ms, asked=True)
        new = _SilentUser(next(self._serial), now_ms, context_of(within, gap_ms), at, worth)
        self._users[user] = new
        self._enter(user, new, 0, now_ms)

    def until(self, now_ms: int, grain_ms: int) -> Iterator[int]:
        """Advance to `now_ms`; yields times at which rates have changed, at most one per grain."""
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
