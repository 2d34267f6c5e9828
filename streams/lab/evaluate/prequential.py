"""One pass over a trace: predict, score, learn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streams.lab.evaluate.ahead import HorizonScores
from streams.lab.evaluate.as_published import VECTORS, PublishedVectors
from streams.lab.evaluate.demand import DemandErrors, demand
from streams.lab.evaluate.scores import PredictionScores, summary
from streams.lab.evaluate.when import HORIZONS_MS, ArrivalScores
from streams.models.kernels import Table
from streams.models.next_request import state_codec as codec
from streams.models.next_request.classifier import NETWORKS, network_rows
from streams.models.next_request.mixture import MixtureConfig, NextRequestMixture
from streams.models.next_request.prediction import MixturePrediction
from streams.models.next_request.user_profile import UserProfile
from streams.records import Request

__all__ = ["SLICES", "TraceEvaluation", "evaluate"]

SLICES = ("all", "change", "first5", "history_5_19", "history_20_99", "history_100_up")


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceEvaluation:
    """The results of one trace."""

    events: int
    us_per_event: float  # CPU time to predict what is learnt from, and learn
    state_bytes: Sequence[int]  # of each user
    scores: PredictionScores
    when: ArrivalScores
    ahead: HorizonScores
    demand: DemandErrors | None

    def as_json(self) -> dict[str, Any]:
        """The results as plain values."""
        return {
            "events": self.events,
            "us_per_event": round(self.us_per_event, 2),
            "state_bytes_median": statistics.median(self.state_bytes or [0]),
            "state_bytes_max": max(self.state_bytes, default=0),
            "slices": summary(self.scores),
            "when": self.when.summary(),
            "ahead": self.ahead.summary(),
            "demand": self.demand.summary() if self.demand else {},
        }


def evaluate(
    requests: Sequence[Request],
    config: MixtureConfig | None = None,
    advance: Callable[[int], None] = lambda _: None,
    *,
    published: bool = False,
) -> TraceEvaluation:
    """Score the profiler's model on requests in time order.

    An event is scored when its user has an earlier one.

    Parameters
    ----------
    requests
        In the order in which they are predicted and learnt.
    config
        Parameters of the mixture. With its network, both together and the network are scored too.
    advance
        Called with the number of events done since its last call.
    published
        Score the vectors as they are published, right after a user's last request, and the ones of
        the phase of the silence that demand is made of. Otherwise the prediction that workers learn
        from: given the phase, and with all that was learnt since.
    """
    mixture, state = NextRequestMixture(config), dict[str, Any]()
    vectors = PublishedVectors(mixture) if published else None
    names = VECTORS if published else _models(mixture)
    scores, when, ahead = PredictionScores(names, SLICES), ArrivalScores(), HorizonScores()
    spent = 0
    for done, request in enumerate(_reported(requests, advance)):
        begun = time.thread_time_ns()
        profile = mixture.profile(state, request.user)
        gap_ms = profile.gap_to(request.at_ms)
        given = mixture.prediction_given(state, profile, gap_ms)
        spent += time.thread_time_ns() - begun
        if len(profile):
            item = mixture.vocabulary(state).find(request.service)
            scored = vectors.of(request.user, gap_ms) if vectors else (given, _rows(given))
            _score(scores, *scored, profile, item)
            _score_gap(when, mixture, state, request)
        begun = time.thread_time_ns()
        _learn(mixture, state, request, str(done), given)
        spent += time.thread_time_ns() - begun
        if vectors:
            vectors.publish(state, request.user)
        ahead.heard(mixture, state, request.user, request.at_ms)
    return TraceEvaluation(
        events=len(requests),
        us_per_event=spent / 1000 / max(len(requests), 1),
        state_bytes=_sizes(state),
        scores=scores,
        when=when,
        ahead=ahead,
        demand=demand(requests),
    )


def _reported(requests: Sequence[Request], advance: Callable[[int], None]) -> Iterator[Request]:
    """The requests; `advance` is called after every 500."""
    for done, request in enumerate(requests, 1):
        yield request
        if done % 500 == 0:
            advance(500)


def _learn(
    mixture: NextRequestMixture,
    state: dict[str, Any],
    request: Request,
    request_id: str,
    prediction: MixturePrediction,
) -> None:
    mixture.learn(
        state,
        request.user,
        request.service,
        at_ms=request.at_ms,
        request_id=request_id,
        parameters=request.parameters,
        prediction=prediction,
    )


def _sizes(state: Mapping[str, Any]) -> list[int]:
    """Bytes of state per user."""
    return [len(codec.encode(row)) for key, row in state.items() if key.startswith("u/")]


def _score(
    scores: PredictionScores,
    prediction: MixturePrediction,
    rows: Table,
    profile: UserProfile,
    item: int | None,
) -> None:
    length = len(profile)
    flags = (
        True,
        item != profile.last,
        length < 5,
        5 <= length < 20,
        20 <= length < 100,
        length >= 100,
    )
    scores.add(rows, prediction.column(item), flags, prediction.others)


def _models(mixture: NextRequestMixture) -> tuple[str, ...]:
    """The mixture, its experts, and what is made with the network."""
    return ("mixture", *mixture.experts, *(NETWORKS if mixture.config.rnn else ()))


def _rows(prediction: MixturePrediction) -> Table:
    """The rows of these."""
    table: Table = prediction.table[NextRequestMixture.rows, :]
    return table if prediction.joined is None else np.vstack([table, *network_rows(prediction)])


def _score_gap(
    when: ArrivalScores, mixture: NextRequestMixture, state: dict[str, Any], request: Request
) -> None:
    profile = mixture.profile(state, request.user)
    gaps_ms = mixture.outlook(state, profile, HORIZONS_MS[0]).expected_ms
    within = [mixture.within(state, profile, horizon) for horizon in HORIZONS_MS]
    gap = max(request.at_ms - profile.last_ms, 0)
    when.add(request.user, gap, within, gaps_ms)
