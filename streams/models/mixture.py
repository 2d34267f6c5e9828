"""The profiler's model: members of several orders and scopes, mixed by what they were worth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.models.counts import Counts
from streams.models.evidence import MEMBERS, PRIOR, Columns, Evidence
from streams.models.gaps import Gaps
from streams.models.history import History
from streams.models.mixing import BUCKETS, Mixed, Newton, mixed, move, shortened
from streams.models.population import Population, State, pace_of
from streams.models.profile import Pending, Profile

__all__ = ["Config", "Mixture", "View"]

_GAPS = "\x00gaps"
_NEWTON = "\x00newton"
_SHIFTS = "\x00shifts"


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
    gap_prior: float = 4.0  # gaps of all users that a user's own are weighed against
    lift: float = 0.7  # of what gaps after the same service and a like gap say beyond all gaps
    arrival: bool = False  # predictions are made when a request arrives, not after the last one


@dataclass(frozen=True, slots=True)
class View:
    """One prediction and how it came about."""

    evidence: Evidence
    mixed: Mixed
    contexts: tuple[str, ...]  # rows of weights used
    keys: tuple[str, ...]  # rows of counts used

    def column(self, item: int | None) -> int:
        """The column of a service: its own, that of all others, or that of the unseen."""
        return -1 if item is None else self.evidence.columns.of.get(item, -2)


class Mixture:
    """Predict each user's next service by a learnt mixture of counts.

    Idea: every member gives a distribution over services (`Evidence`). The mixture is
    proportional to the product of the members' probabilities, each to the power of its weight.
    Weights are sums of small sets chosen by context, the user's own among them, and follow the
    gradient of the log-loss: one step at each feedback. The odds of the most probable service are then corrected by what
    probabilities like it were worth.

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

    members = MEMBERS

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self._prior = np.array([*(PRIOR[member] for member in MEMBERS), 0.0])
        self._all = Columns({}, 0)

    def history(self) -> History:
        """An empty history."""
        return History((), self.config.keep, self.config.decay)

    def predict(self, state: State, user: str) -> dict[str, float]:
        """Probability of each service listed; what is missing to 1 is for all others."""
        view = self.view(state, self.profile(state, user))
        names = Population(state).names.names
        probabilities = view.mixed.probabilities.tolist()
        return {names[i]: probabilities[c] for i, c in view.evidence.columns.of.items()}

    def view(self, state: State, profile: Profile) -> View:
        """The prediction for this profile."""
        shared = Population(state)
        history = profile.history
        keys = shared.keys(history, profile.pace, arrival=self.config.arrival)
        counts = shared.counts(keys)
        evidence = Evidence(
            self._columns(len(shared.names), history, counts),
            history,
            counts,
            returns=shared.returns(),
            novelty=shared.unseen(),
        )
        contexts = _contexts(profile)
        weights: npt.NDArray[np.float64] = self._prior.copy()
        weights += profile.weights
        for context in contexts:
            row = state.get(context)
            if row is not None:
                weights += row
        weights = weights[:-1]
        newton: Newton | None = state.get(_NEWTON)
        if newton is not None:
            weights += newton.weights
        return View(
            evidence, mixed(evidence.rows, weights, state.get(_SHIFTS)), contexts, tuple(keys)
        )

    def learn(
        self,
        state: State,
        user: str,
        service: str,
        *,
        at_ms: int,
        request_id: str,
        view: View | None = None,
    ) -> None:
        """Score the prediction for `user` on the service that came, then take it in.

        `view` is that prediction when it was just made.
        """
        profile = self.profile(state, user)
        shared = Population(state)
        view = view or self.view(state, profile)
        if profile.history.items:
            self._score(profile, request_id, view, view.column(shared.names.find(service)))
            gap = max(at_ms - profile.last_ms, 0)
            for key in (_GAPS, _gaps_key(profile)):
                state[key] = gaps = state.get(key) or Gaps()
                gaps.learn_one(gap)
            profile.pace = pace_of(profile.pace, gap)
            profile.gaps.learn_one(gap)
        profile.history.append(shared.learn(view.keys, profile.history, service))
        profile.last_ms = max(at_ms, profile.last_ms)
        state[f"u/{user}"] = profile

    def feedback(self, state: State, user: str, request_id: str, *, drift: bool = False) -> None:
        """Move the weights by the outcome of a request, further after a drift."""
        profile: Profile | None = state.get(f"u/{user}")
        pending = None if profile is None else profile.settle(request_id)
        if profile is None or pending is None:
            return
        step = self.config.step * (self.config.hurry if drift else 1.0)
        change = np.append(shortened(pending.gradient) * np.float32(step), np.float32(0))
        move(profile.weights, change, self.config.early)
        state[f"u/{user}"] = profile
        state[_NEWTON] = newton = state.get(_NEWTON) or Newton(len(MEMBERS))
        newton.learn_one(pending.gradient.astype(np.float64))
        shifts = state.get(_SHIFTS)
        state[_SHIFTS] = shifts = np.zeros(BUCKETS, np.float32) if shifts is None else shifts
        shifts[pending.bucket] += np.float32(self.config.correction * pending.surprise)
        for context in pending.contexts:
            row = state.get(context)
            state[context] = row = np.zeros_like(change) if row is None else row
            move(row, change, self.config.early)

    def gaps(self, state: State, user: str) -> tuple[Gaps, Gaps]:
        """Gaps of this user and of all users."""
        return self.profile(state, user).gaps, state.get(_GAPS) or Gaps()

    def within(self, state: State, profile: Profile, horizon_ms: int) -> float:
        """Probability that this user's next request comes within the horizon of their last."""
        shared: Gaps = state.get(_GAPS) or Gaps()
        everyone = shared.within(horizon_ms)
        own = profile.gaps.within(horizon_ms, everyone, self.config.gap_prior)
        alike: Gaps | None = state.get(_gaps_key(profile))
        if alike is None:
            return own
        here = alike.within(horizon_ms, everyone, 2 * self.config.gap_prior)
        return _logistic(_logit(own) + self.config.lift * (_logit(here) - _logit(everyone)))

    def profile(self, state: State, user: str) -> Profile:
        """What is remembered of this user."""
        found: Profile | None = state.get(f"u/{user}")
        return Profile(len(MEMBERS), self.history()) if found is None else found

    def _score(self, profile: Profile, request_id: str, view: View, column: int) -> None:
        gradient = view.mixed.gradient(column).astype(np.float16).astype(np.float32)
        surprise = float(np.float16(view.mixed.surprise(column)))
        profile.wait(Pending(request_id, view.contexts, view.mixed.bucket, surprise, gradient))
        probabilities = view.mixed.probabilities
        rank = int(np.count_nonzero(probabilities > probabilities[column]))
        profile.ranks = (profile.ranks << 2 | min(rank, 3)) & 15

    def _columns(self, known: int, history: History, counts: list[Counts | None]) -> Columns:
        most = self.config.most
        if known <= most:
            if len(self._all.of) != known:
                self._all = Columns({item: item for item in range(known)}, 0)
            return self._all
        found = dict.fromkeys(history.items[-1:])
        for followers in reversed(history.contexts()):
            found.update(dict.fromkeys(followers.counts))
        for shared in reversed(counts):
            if shared is not None:
                found.update(dict.fromkeys(shared.values))
        return Columns(
            {item: at for at, item in enumerate([*found][:most])}, known - min(most, len(found))
        )


def _gaps_key(profile: Profile) -> str:
    """The row of the gaps after the same service and a gap as long as the last."""
    last = profile.history.items[-1] if profile.history.items else 0xFFFF
    return f"{_GAPS}/{profile.pace & 15:x}/{last:x}"


def _logit(probability: float) -> float:
    within = min(max(probability, 1e-4), 1 - 1e-4)
    return math.log(within / (1 - within))


def _logistic(score: float) -> float:
    return 1 / (1 + math.exp(-score))


def _contexts(profile: Profile) -> tuple[str, ...]:
    history = profile.history
    length = len(history.items)
    contexts = history.contexts()
    visits = min(contexts[-1].visits, 2) if len(contexts) > 1 else 0
    last = history.items[-1] if length else 0xFFFF
    return (
        f"\x00w/length/{length.bit_length()}",
        f"\x00w/run/{min(history.run, 6)}",
        f"\x00w/last/{last:x}",
        f"\x00w/depth/{len(contexts)}/{visits}",
        f"\x00w/ranks/{profile.ranks}",
    )
