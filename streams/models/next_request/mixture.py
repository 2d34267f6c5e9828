"""The profiler's model: members of several orders and scopes, mixed by what they were worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from streams.models.arrival.gaps import outlook, within
from streams.models.counts import Row, empty
from streams.models.next_request.backoff import Table
from streams.models.next_request.candidates import Numbers
from streams.models.next_request.experts import MEMBERS, PARTS, PRIOR
from streams.models.next_request.learner import learn, make_room, settle
from streams.models.next_request.mixing import NOTE, M
from streams.models.next_request.parameters import Parameters
from streams.models.next_request.population import Population, State, context_keys, pace_of
from streams.models.next_request.predictor import FACTS, Facts, predict
from streams.models.next_request.profile import Profile
from streams.models.next_request.vocabulary import Vocabulary

__all__ = ["Config", "Mixture", "View"]

_COMMON, _NAMES, _TOLD = "\x00common", "\x00names", "\x00parameters"
_GAPS, _WEIGHTS = "\x00gaps", "\x00w"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Parameters of the mixture: one set for all traces, chosen on the first 30 % of three."""

    keep: int = 512  # requests of a user that are kept
    decay: float = 0.98  # of a user's counts, at each visit
    most: int = 128  # services that have a probability of their own in one vector
    step: float = 0.0006  # of the weights, at a feedback
    early: float = 5.0  # how much longer the first steps are
    hurry: float = 4.0  # how much longer steps are after a drift
    correction: float = 0.02  # step of the calibration, at a feedback
    gap_prior: float = 8.0  # gaps of all users that a user's own are weighed against
    lift: float = 0.5  # of what gaps after the same service and a like gap say beyond all gaps
    arrival: bool = False  # predictions are made when a request arrives, not after the last one


class View(NamedTuple):
    """One prediction and how it came about."""

    seen: Numbers  # by column: service, how many requests ago the last was, how many there were
    table: Table  # mixture and members x (services, all others, the unseen): probabilities
    expected: Table  # each member's mean log-probability under the mixture
    facts: Facts  # what the weights were chosen by
    others: int  # services known that have no column
    keys: list[str]  # rows of counts used
    shared: tuple[Row, ...]  # those counts

    def column(self, item: int | None) -> int:
        """The column of a service: its own, that of all others, or that of the unseen."""
        listed = len(self.seen)
        if item is None:
            return listed + 1
        if not self.others:
            return item
        found = np.flatnonzero(self.seen[:, 0] == item)
        return int(found[0]) if len(found) else listed


class Mixture:
    """Predict each user's next service by a learnt mixture of counts.

    Idea: every member gives a distribution over services. The mixture is proportional to the
    product of the members' probabilities, each to the power of its weight. Weights are sums of
    small sets chosen by context, the user's own among them, and follow the gradient of the
    log-loss: one step at each feedback. The odds of the most probable service are then
    corrected by what probabilities like it were worth.

    Guarantees: log-loss is convex in the weights, so online gradient descent has regret
    O(sqrt(T)) against the best fixed weights, hence against the best single member. The vector
    sums to 1 and keeps mass for services never seen.

    Parameters
    ----------
    config
        The parameters.

    Examples
    --------
    >>> mixture, state = Mixture(), {}
    >>> for at, service in enumerate(["order", "pay"] * 20):
    ...     mixture.learn(state, "ann", service, at_ms=at * 1000, request_id=str(at))
    ...     mixture.feedback(state, "ann", str(at))
    >>> vector = mixture.predict(state, "ann")
    >>> max(vector, key=vector.get)
    'order'

    References
    ----------
    Mattern (2012), Mixing strategies in data compression, DCC: logistic mixing as online
    gradient descent, its regret. Mahoney (2005), Adaptive weighing of context models for
    lossless data compression: weight sets chosen by context.
    """

    members = tuple(member for member in MEMBERS if member not in PARTS)
    rows = (0, *(1 + MEMBERS.index(member) for member in members))  # of a view's table

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self._prior = np.array([*PRIOR.values(), 0.0], np.float32)
        self._none = np.zeros(M + 1, np.float32)
        self._empty = empty()

    def predict(self, state: State, user: str) -> dict[str, float]:
        """Probability of each service listed; what is missing to 1 is for all others."""
        view = self.view(state, self.profile(state, user))
        return dict(zip(self.names(state, view), view.table[0].tolist(), strict=False))

    def names(self, state: State, view: View) -> list[str]:
        """The services that have a column, in the columns' order."""
        names = self.vocabulary(state).names
        return [names[item] for item in view.seen[:, 0].tolist()] if view.others else names

    def view(self, state: State, profile: Profile) -> View:
        """The prediction for this profile."""
        get, config = state.get, self.config
        common: Population = get(_COMMON) or Population()
        known = len(self.vocabulary(state))
        latest = int(common.novelty[3]) if config.arrival else profile.tail[0]
        keys = context_keys(profile, latest)
        rows = [self._empty if (row := get(key)) is None else row for key in keys]
        shared = (common.popular, *rows[:-1], common.first, rows[-1])
        last: Any = get(f"{_WEIGHTS}/{profile.last:x}")
        width = min(known, config.most) + 2
        seen = np.empty((width - 2, 3), np.uint16)
        # Empty, since making zeros lets go of the interpreter: every waiting thread wakes up.
        room, expected = np.empty((1 + M) * width), np.empty(M)
        facts = np.empty(FACTS, np.int64)
        columns = predict(
            profile.items, profile.kinds, shared, common.tally, common.novelty,
            profile.weights, self._none if last is None else last,
            common.sets, common.newton, common.shifts, profile.ranks, known, config.decay,
            seen, room, expected, facts,
        )  # fmt: skip
        if columns < width - 2:
            seen, room = seen[:columns], room[: (1 + M) * (columns + 2)]
        table = room.reshape(1 + M, columns + 2)
        return View(seen, table, expected, facts, known - columns, keys, shared)

    def learn(
        self,
        state: State,
        user: str,
        service: str,
        *,
        at_ms: int,
        request_id: str,
        parameters: Mapping[str, str] | None = None,
        view: View | None = None,
    ) -> None:
        """Score the prediction for `user` on the service that came, then take it in.

        `view` is that prediction when it was just made.
        """
        profile = self.profile(state, user)
        view = view or self.view(state, profile)
        names = self.vocabulary(state)
        item = names.find(service)
        column = view.column(item)
        if item is None:
            item = names.number(service)
            state[_NAMES] = names
        gap = max(at_ms - profile.last_ms, 0) if len(profile) else -1
        note, rank = self._count(state, profile, view, column, item, len(names), gap)
        if gap >= 0:
            profile.wait(request_id, note)
            profile.ranks = (profile.ranks << 2 | min(rank, 3)) & 15
            profile.pace = pace_of(profile.pace, gap)
        profile.append(item, self.config.keep)
        profile.told = _told(state, parameters) if parameters else 0
        profile.last_ms = max(at_ms, profile.last_ms)
        state[f"u/{user}"] = profile

    def feedback(self, state: State, user: str, request_id: str, *, drift: bool = False) -> None:
        """Move the weights by the outcome of a request, further after a drift."""
        profile: Profile | None = state.get(f"u/{user}")
        note = None if profile is None else profile.settle(request_id)
        if profile is None or note is None:
            return
        config = self.config
        common: Population = state.get(_COMMON) or Population()
        key = f"{_WEIGHTS}/{int(note[-1]):x}"
        last: Any = state.get(key)
        if last is None:
            last = self._none.copy()
        step = config.step * (config.hurry if drift else 1.0)
        settle(
            note, profile.weights, last, common.sets, common.newton, common.shifts,
            step, config.early, config.correction,
        )  # fmt: skip
        state[key] = last
        state[_COMMON] = common
        state[f"u/{user}"] = profile

    def outlook(
        self, state: State, profile: Profile, horizon_ms: int
    ) -> tuple[float, tuple[int, int, int]]:
        """Probability that this user's next request comes within the horizon, and when it comes.

        When is the gap, in ms, at the quantiles 10, 50 and 90 %.
        """
        common: Population = state.get(_COMMON) or Population()
        alike: Any = state.get(_gaps_key(profile.pace, profile.last))
        soon, early, middle, late = outlook(
            profile.gaps,
            common.gaps,
            self._empty if alike is None else alike,
            horizon_ms,
            self.config.gap_prior,
            self.config.lift,
        )
        return soon, (round(early), round(middle), round(late))

    def within(
        self,
        state: State,
        profile: Profile,
        horizon_ms: int,
        passed_ms: int = 0,
        *,
        after: tuple[int, int] | None = None,
    ) -> float:
        """Probability that this user's next request comes within the horizon.

        Given that none came in the `passed_ms` since their last; or when they will have asked,
        `after` a gap (of `pace_of`), for this service.
        """
        common: Population = state.get(_COMMON) or Population()
        alike: Any = state.get(_gaps_key(*after or (profile.pace, profile.last)))
        found: float = within(
            profile.gaps,
            common.gaps,
            self._empty if alike is None else alike,
            horizon_ms,
            passed_ms,
            self.config.gap_prior,
            self.config.lift,
        )
        return found

    def profile(self, state: State, user: str) -> Profile:
        """What is remembered of this user."""
        found: Profile | None = state.get(f"u/{user}")
        if found is None:
            found = Profile()
            found.weights = self._prior.copy()
        return found

    def vocabulary(self, state: State) -> Vocabulary:
        """The services known, by number."""
        return state.get(_NAMES) or Vocabulary()

    def _count(
        self,
        state: State,
        profile: Profile,
        view: View,
        column: int,
        item: int,
        known: int,
        gap_ms: int,
    ) -> tuple[Numbers, int]:
        common: Population = state.get(_COMMON) or Population()
        gaps, note = _gaps_key(profile.pace, profile.last), np.empty(NOTE, np.uint16)
        alike: Any = state.get(gaps)
        touched = [*view.shared, profile.gaps, common.gaps, self._empty if alike is None else alike]
        rank, full = learn(
            profile.items, profile.kinds, tuple(touched), common.tally, common.novelty,
            view.seen, view.table, view.expected, view.facts,
            column, item, known, gap_ms, self.config.decay, note,
        )  # fmt: skip
        if full:
            make_room(touched, full, item, gap_ms)
        common.popular, *rows, common.first, first, profile.gaps, common.gaps, alike = touched
        for key, row in zip((*view.keys, gaps), (*rows, first, alike), strict=True):
            if len(row):
                state[key] = row
        state[_COMMON] = common
        return note, rank


def _told(state: State, parameters: Mapping[str, str]) -> int:
    """What the parameters of a request are, learning which of them tell anything."""
    known: Parameters = state.get(_TOLD) or Parameters()
    if known.learn(parameters):
        state[_TOLD] = known
    return known.checksum(parameters)


def _gaps_key(pace: int, last: int) -> str:
    """The row of the gaps after the same service and a gap as long as the last."""
    return f"{_GAPS}/{pace & 15:x}/{last:x}"
