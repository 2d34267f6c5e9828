"""The profiler's model: counts of several orders and scopes, mixed by what they were worth."""

from __future__ import annotations

import zlib
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.models.counts import Counts
from streams.models.gaps import Gaps
from streams.models.history import History
from streams.models.profile import Pending, Profile, Vector
from streams.models.vocabulary import Vocabulary

__all__ = ["Config", "Mixture", "View"]

Matrix = npt.NDArray[np.float64]
State = MutableMapping[str, Any]

_NAMES = "\x00names"
_GAPS = "\x00gaps"
_FLOOR = 1e-9  # least probability a member gives to anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Parameters of the mixture; chosen on the first 30 % of each trace, one set for all."""

    orders: int = 2  # longest context, in requests
    keep: int = 512  # requests of a user that are kept
    decay: float = 0.98  # of a user's counts, at each visit
    recency: float = 0.8  # of the fast recency
    buckets: int = 4096  # rows that the shared contexts of an order are hashed to
    most: int = 64  # services listed one by one
    step: float = 0.002  # of the weights, at a feedback
    hurry: float = 4.0  # times `step` after a drift


@dataclass(frozen=True, slots=True)
class View:
    """One prediction and how it came about."""

    columns: dict[int, int]  # service number -> column; the last two: all others, the unseen
    logs: Matrix  # members x columns: log-probabilities
    mixed: npt.NDArray[np.float64]  # by column
    contexts: tuple[str, ...]  # weight rows used


class Mixture:
    """Predict each user's next service by a learnt mixture of back-off counts.

    Idea: every member gives a distribution over services: back-off counts of order 0 to
    `orders`, of this user and of all, recency, popularity and repeats. The mixture is
    proportional to the product of the members' probabilities, each to the power of its weight.
    Weights are sums of small sets chosen by context, and follow the gradient of the log-loss,
    one step at each feedback.

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

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        orders = range(self.config.orders + 1)
        self.members = (
            "popular",
            *(f"global-{k}" for k in orders),
            *(f"user-{k}" for k in orders),
            "recent",
            "repeat",
        )
        prior = np.full(len(self.members), 0.2 / len(self.members), np.float32)
        prior[self.members.index(f"user-{self.config.orders}")] += 0.8
        self._prior: Vector = prior

    def profile(self) -> Profile:
        """The profile of a user never seen."""
        return Profile(len(self.members), self.history())

    def history(self) -> History:
        """An empty history."""
        return History(self.config.orders, self.config.keep, self.config.decay)

    def predict(self, state: State, user: str) -> dict[str, float]:
        """Probability of each service listed; what is missing to 1 is for all others."""
        view = self.view(state, self._profile(state, user))
        names = _names(state).names
        return {names[i]: float(view.mixed[c]) for i, c in view.columns.items()}

    def view(self, state: State, profile: Profile) -> View:
        """The prediction for this profile."""
        popular, counts = self._shared(state, profile.history)
        columns = self._columns(profile.history, popular, counts, len(_names(state)))
        logs = np.log(np.maximum(self._members(profile.history, popular, counts, columns), _FLOOR))
        contexts = self._contexts(profile)
        weights = self._prior + profile.weights
        for key in contexts:
            row = state.get(key)
            if row is not None:
                weights = weights + row
        mixed = weights @ logs
        mixed = np.exp(mixed - mixed.max())
        return View(columns, logs, mixed / mixed.sum(), contexts)

    def learn(self, state: State, user: str, service: str, *, at_ms: int, request_id: str) -> None:
        """Score the prediction for `user` on the service that came, then take it in."""
        profile = self._profile(state, user)
        names = _names(state)
        found = names.find(service)
        if profile.history.items:
            view = self.view(state, profile)
            column = -1 if found is None else view.columns.get(found, -2)
            gradient = view.logs[:, column] - view.logs @ view.mixed
            half = gradient.clip(-60, 60).astype(np.float16).astype(np.float32)
            profile.wait(Pending(request_id, view.contexts, half))
            rank = min(int((view.mixed > view.mixed[column]).sum()), 3)
            profile.ranks = (profile.ranks << 2 | rank) & 0xFF
            gap = max(at_ms - profile.last_ms, 0)
            profile.gaps.learn_one(gap)
            state[_GAPS] = gaps = state.get(_GAPS) or Gaps()
            gaps.learn_one(gap)
        number = names.number(service)
        if found is None:
            state[_NAMES] = names
        self._count(state, profile.history, number)
        profile.history.append(number)
        profile.last_ms = max(at_ms, profile.last_ms)
        state[f"u/{user}"] = profile

    def feedback(self, state: State, user: str, request_id: str, *, drift: bool = False) -> None:
        """Move the weights by the outcome of a request, faster after a drift."""
        profile: Profile | None = state.get(f"u/{user}")
        pending = None if profile is None else profile.settle(request_id)
        if profile is None or pending is None:
            return
        step = self.config.step * (self.config.hurry if drift else 1.0)
        change = (pending.gradient * np.float32(step)).astype(np.float32)
        profile.weights = profile.weights + change
        state[f"u/{user}"] = profile
        for key in pending.contexts:
            row = state.get(key)
            state[key] = change if row is None else row + change

    def gaps(self, state: State, user: str) -> tuple[Gaps, Gaps]:
        """Gaps of this user and of all users."""
        profile = self._profile(state, user)
        return profile.gaps, state.get(_GAPS) or Gaps()

    def _profile(self, state: State, user: str) -> Profile:
        found: Profile | None = state.get(f"u/{user}")
        return self.profile() if found is None else found

    def _keys(self, history: History) -> list[str]:
        items, buckets = history.items, self.config.buckets
        keys = ["\x00popular", "\x00c0"]
        for order in range(1, min(self.config.orders, len(items)) + 1):
            row = zlib.crc32(items[-order:].tobytes()) % buckets if order > 1 else items[-1]
            keys.append(f"\x00c{order}/{row:x}")
        return keys

    def _shared(self, state: State, history: History) -> tuple[Counts, list[Counts]]:
        popular, *counts = (state.get(key) for key in self._keys(history))
        empty = Counts(1)
        return popular or empty, [c or empty for c in counts]

    def _count(self, state: State, history: History, item: int) -> None:
        for place, key in enumerate(self._keys(history)):
            counts: Counts = state.get(key) or Counts(limit=256 if place == 0 else 60_000)
            counts.visit(item)
            state[key] = counts

    def _columns(
        self, history: History, popular: Counts, counts: list[Counts], known: int
    ) -> dict[int, int]:
        most = self.config.most
        if known <= most:
            return {item: item for item in range(known)}
        found: dict[int, None] = {}
        for followers in reversed(history.contexts()):
            found.update(dict.fromkeys(_largest(followers.counts, most // 2)))
        for shared in (*reversed(counts), popular):
            found.update(dict.fromkeys(_largest(shared.values, most // 2)))
        return {item: column for column, item in enumerate(list(found)[:most])}

    def _members(
        self, history: History, popular: Counts, counts: list[Counts], columns: dict[int, int]
    ) -> Matrix:
        width, orders = len(columns) + 2, self.config.orders + 1
        rows = np.empty((len(self.members), width))
        base = np.full(width, 0.98 / max(width - 1, 1))
        base[-1] = 0.02
        _blend(rows[0], base, popular.values, popular.total, columns)
        for k in range(orders):
            parent = base if k == 0 else rows[k]
            shared = counts[k] if k < len(counts) else Counts(1)
            _blend(rows[1 + k], parent, shared.values, shared.total, columns)
        contexts = history.contexts()
        for k in range(orders):
            row, shared_row = rows[1 + orders + k], rows[1 + k]
            parent = shared_row if k == 0 else (rows[orders + k] + shared_row) / 2
            if k < len(contexts):
                step = contexts[k].step
                scaled = {i: c / step for i, c in contexts[k].counts.items()}
                _blend(row, parent, scaled, contexts[k].weight, columns)
            else:
                row[:] = parent
        self._recent(rows, history, columns, rows[1 + orders])
        return rows

    def _recent(
        self, rows: Matrix, history: History, columns: dict[int, int], parent: Vector
    ) -> None:
        recent: dict[int, float] = {}
        weight = 1.0
        for item in reversed(history.items[-16:]):
            recent[item] = recent.get(item, 0.0) + weight
            weight *= self.config.recency
        _blend(rows[-2], parent, recent, sum(recent.values()), columns)
        last = dict.fromkeys(history.items[-1:], 1.0)
        _blend(rows[-1], parent, last, len(last), columns)

    def _contexts(self, profile: Profile) -> tuple[str, ...]:
        items = profile.history.items
        run = 0
        for item in reversed(items[-5:]):
            if item != items[-1]:
                break
            run += 1
        depth = len(profile.history.contexts())
        length = len(items).bit_length()
        last = items[-1] % 1024 if items else 1024
        return (
            f"\x00w/length/{length}/{depth}",
            f"\x00w/run/{run}",
            f"\x00w/last/{last}",
            f"\x00w/ranks/{profile.ranks & 15}",
        )


def _names(state: State) -> Vocabulary:
    return state.get(_NAMES) or Vocabulary()


def _largest(counts: dict[int, Any], most: int) -> list[int]:
    return sorted(counts, key=lambda i: (-counts[i], i))[:most]


def _blend(
    row: npt.NDArray[np.float64],
    parent: npt.NDArray[Any],
    counts: dict[int, Any],
    total: float,
    columns: dict[int, int],
) -> None:
    """Witten-Bell: the number of different followers is the weight of the shorter context."""
    different = len(counts)
    if not different:
        row[:] = parent
        return
    scale = 1.0 / (total + different)
    np.multiply(parent, different * scale, out=row)
    elsewhere = len(row) - 2
    for item, count in counts.items():
        row[columns.get(item, elsewhere)] += count * scale
