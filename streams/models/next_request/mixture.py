"""The profiler's model: experts of several orders and scopes, mixed with learnt weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from streams.models.arrival.gaps import GapOutlook, GapRows, outlook, within
from streams.models.arrival.phases import PHASES, PHASES_MS, SESSION, phase_of
from streams.models.counts import empty
from streams.models.kernels import Table
from streams.models.next_request.evidence import gather, learn_parameters, phase_rows, room_for
from streams.models.next_request.experts import CONDITIONAL, EXPERTS, M
from streams.models.next_request.learner import Learnt, learn, make_room
from streams.models.next_request.mixing import initial_weights, no_weights
from streams.models.next_request.network_expert import NetworkExpert
from streams.models.next_request.population import PopulationState
from streams.models.next_request.prediction import MixturePrediction
from streams.models.next_request.predictor import predict, predict_all
from streams.models.next_request.score_tally import new_tally
from streams.models.next_request.state_keys import (
    POPULATION,
    SERVICES,
    State,
    context_keys,
    gaps_key,
    pace_of,
    user_key,
    weights_key,
)
from streams.models.next_request.user_profile import UserProfile
from streams.models.next_request.vocabulary import ServiceVocabulary
from streams.models.next_request.weight_update import learning_rates
from streams.models.recent_requests import digest_of

__all__ = ["MixtureConfig", "NextRequestMixture"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureConfig:
    """Parameters of the mixture: one set for all traces, chosen on the first 30 % of three."""

    keep: int = 512  # requests of a user that are kept
    least: int = 16  # and that are kept at least when the user has changed
    decay: float = 0.98  # of a user's counts, at each visit
    most: int = 128  # services that have a probability of their own in one vector
    step: float = 0.0006  # learning rate of the weights
    early: float = 5.0  # how much longer the first steps are
    correction: float = 0.02  # learning rate of the calibration
    gap_prior: float = 8.0  # gaps of all users that a user's own are weighed against
    lift: float = 0.5  # of what gaps after the same service and a like gap say beyond all gaps
    rnn: bool = False  # whether the recurrent network is one more expert


class NextRequestMixture:
    """Predict each user's next service by a learnt mixture of counts.

    Idea: every expert gives a distribution over services. The mixture is proportional to the
    product of the experts' probabilities, each to the power of its weight. Weights are sums of
    small sets chosen by context, the user's own among them, and follow the gradient of the
    log-loss, one step at each request. The odds of the most probable service are then corrected
    by what probabilities like it were worth. Where a user's loss has become larger, what they
    asked for before that is forgotten.

    Guarantees: log-loss is convex in the weights, so online gradient descent has regret
    O(sqrt(T)) against the best fixed weights, hence against the best single expert. The vector
    sums to 1 and keeps mass for services never seen.

    Parameters
    ----------
    config
        The parameters.

    Examples
    --------
    >>> mixture, state = NextRequestMixture(), {}
    >>> for at, service in enumerate(["order", "pay"] * 20):
    ...     _ = mixture.learn(state, "ann", service, at_ms=at * 1000, request_id=str(at))
    >>> vector = mixture.predict(state, "ann")
    >>> max(vector, key=vector.get)
    'order'

    References
    ----------
    Mattern (2012), Mixing strategies in data compression, DCC: logistic mixing as online
    gradient descent, its regret. Mahoney (2005), Adaptive weighing of context models for
    lossless data compression: weight sets chosen by context.
    """

    experts = tuple(expert for expert in EXPERTS if expert not in CONDITIONAL)
    rows = (0, *(1 + EXPERTS.index(expert) for expert in experts))  # of a prediction's table

    def __init__(self, config: MixtureConfig | None = None) -> None:
        self.config = config or MixtureConfig()
        config = self.config
        self._rates = learning_rates(config.step, config.early, config.correction)
        self.tally = new_tally()
        self._no_counts = empty()
        self._network = NetworkExpert() if config.rnn else None

    def predict(self, state: State, user: str) -> dict[str, float]:
        """Probability of each service listed; what is missing to 1 is for all others."""
        prediction = self.prediction(state, self.profile(state, user))
        names = self.names(state, prediction)
        return dict(zip(names, prediction.chances.tolist(), strict=False))

    def names(self, state: State, prediction: MixturePrediction) -> list[str]:
        """The services that have a column, in the columns' order."""
        names = self.vocabulary(state).names
        if not prediction.others:
            return names
        return [names[item] for item in prediction.candidates["service"].tolist()]

    def prediction(self, state: State, profile: UserProfile) -> MixturePrediction:
        """The prediction for this profile: in each phase of the silence, and over all of them."""
        config, ended = self.config, self._ended(state, profile)
        keys = context_keys(profile, SESSION)
        evidence = gather(state, profile, keys, SESSION, config.decay)
        candidates, room, forecast = room_for(evidence.known, config.most, 1 + M + PHASES)
        rows = phase_rows(state, profile)
        chances, known, joined = ended[1:] - ended[:-1], evidence.known, None
        columns = predict_all(evidence, rows, chances, candidates, room, forecast)
        candidates = candidates[:columns]
        table = room[: (1 + M + PHASES) * (columns + 2)].reshape(-1, columns + 2)
        table, given = table[: 1 + M], table[1 + M :]
        if self._network is not None:
            joined = self._network.predict_all(
                state, profile, known, candidates, given, chances, forecast
            )
        return MixturePrediction(
            candidates,
            table,
            forecast,
            known - columns,
            keys,
            evidence.shared,
            joined,
            given,
            ended,
        )

    def prediction_given(
        self, state: State, profile: UserProfile, gap_ms: int
    ) -> MixturePrediction:
        """The prediction for this profile, given when the request comes: what is learnt from."""
        config, phase = self.config, phase_of(gap_ms)
        keys = context_keys(profile, phase)
        evidence = gather(state, profile, keys, phase, config.decay)
        candidates, room, forecast = room_for(evidence.known, config.most, 1 + M)
        columns = predict(evidence, candidates, room, forecast)
        table = room[: (1 + M) * (columns + 2)].reshape(-1, columns + 2)
        filled, known, joined = (candidates[:columns], table, forecast), evidence.known, None
        if self._network is not None:
            joined = self._network.predict(state, profile, known, *filled)
        return MixturePrediction(*filled, known - columns, keys, evidence.shared, joined)

    def learn(
        self,
        state: State,
        user: str,
        service: str,
        *,
        at_ms: int,
        request_id: str,
        parameters: Mapping[str, str] | None = None,
        prediction: MixturePrediction | None = None,
    ) -> bool:
        """Score the prediction for `user` on the service that came, then take it in.

        `prediction` is that prediction, given when, if it was just made. False, and nothing
        changes, for a request that was learnt before or may have been (see `RecentRequests`).
        """
        profile = self.profile(state, user)
        if not profile.recent.take(digest_of(request_id, service), at_ms, profile.last_ms):
            return False
        gap_ms = profile.gap_to(at_ms)
        prediction = prediction or self.prediction_given(state, profile, gap_ms)
        names = self.vocabulary(state)
        item = names.find(service)
        column = prediction.column(item)
        if item is None:
            item = names.number(service)
            state[SERVICES] = names
        rank, drifted = self._count(state, profile, prediction, item, column, gap_ms)
        if self._network is not None and prediction.joined is not None:
            seen, joined = prediction.candidates, prediction.joined
            self._network.learn(state, profile, item, column, gap_ms, seen, joined)
        if gap_ms >= 0:
            profile.ranks = (profile.ranks << 2 | min(rank, 3)) & 15
            profile.pace = pace_of(profile.pace, gap_ms)
        profile.append(item, self.config.keep)
        if drifted:
            profile.forget(max(drifted, self.config.least))
        profile.parameter_hash = learn_parameters(state, parameters) if parameters else 0
        profile.last_ms = max(at_ms, profile.last_ms)
        state[user_key(user)] = profile
        return True

    def outlook(self, state: State, profile: UserProfile, horizon_ms: int) -> GapOutlook:
        """When this user's next request comes."""
        rows = self._gap_rows(state, profile, gaps_key(profile.pace, profile.last))
        whole, half, early, middle, late = outlook(
            rows, horizon_ms, self.config.gap_prior, self.config.lift
        )
        return GapOutlook(whole, half, (round(early), round(middle), round(late)))

    def within(
        self,
        state: State,
        profile: UserProfile,
        horizon_ms: int,
        passed_ms: int = 0,
        *,
        after: tuple[int, int] | None = None,
    ) -> float:
        """Probability that this user's next request comes within the horizon.

        Given that none came in the `passed_ms` since their last; or when they will have asked,
        `after` a gap (of `pace_of`), for this service.
        """
        rows = self._gap_rows(state, profile, gaps_key(*after or (profile.pace, profile.last)))
        probability: float = within(
            rows, horizon_ms, passed_ms, self.config.gap_prior, self.config.lift
        )
        return probability

    def profile(self, state: State, user: str) -> UserProfile:
        """What is remembered of this user."""
        profile: UserProfile | None = state.get(user_key(user))
        if profile is None:
            profile = UserProfile()
            profile.weights = initial_weights()
        return profile

    def vocabulary(self, state: State) -> ServiceVocabulary:
        """The services known, by number."""
        return state.get(SERVICES) or ServiceVocabulary()

    def _ended(self, state: State, profile: UserProfile) -> Table:
        """The probability that a silence has ended when each phase begins, and after all."""
        rows = self._gap_rows(state, profile, gaps_key(profile.pace, profile.last))
        weights = self.config.gap_prior, self.config.lift
        between = (within(rows, begin_ms, 0, *weights) for begin_ms in PHASES_MS[1:])
        return np.array([0.0, *between, 1.0])

    def _gap_rows(self, state: State, profile: UserProfile, key: str) -> GapRows:
        population: PopulationState = state.get(POPULATION) or PopulationState()
        situation: Any = state.get(key)
        return GapRows(
            profile.gaps, population.gaps, self._no_counts if situation is None else situation
        )

    def _count(
        self,
        state: State,
        profile: UserProfile,
        prediction: MixturePrediction,
        item: int,
        column: int,
        gap_ms: int,
    ) -> tuple[int, int]:
        """Learn a request; its service's rank, and the requests since the user drifted."""
        population: PopulationState = state.get(POPULATION) or PopulationState()
        key, weights_row = gaps_key(profile.pace, profile.last), weights_key(profile.last)
        weights: Any = state.get(weights_row)
        if weights is None:
            weights = no_weights()
        known, situation = len(self.vocabulary(state)), state.get(key)
        gaps = (profile.gaps, population.gaps, self._no_counts if situation is None else situation)
        touched = [*prediction.shared, *gaps]
        learnt = Learnt(
            profile.items, profile.kinds, tuple(touched), population.learnt,
            prediction.candidates, prediction.table, prediction.forecast,
            profile.weights, weights, profile.drift, self._rates, self.tally,
        )  # fmt: skip
        rank, full, drifted = learn(learnt, item, column, gap_ms, known, self.config.decay)
        if full:
            make_room(touched, full, item, gap_ms)
        popular, *rows, first_use, first, own, everyone, situation = touched
        population.popular, population.first = popular, first_use
        profile.gaps, population.gaps = own, everyone
        for row_key, row in zip((*prediction.keys, key), (*rows, first, situation), strict=True):
            if len(row):
                state[row_key] = row
        if gap_ms >= 0:
            state[weights_row] = weights
        state[POPULATION] = population
        return rank, drifted
