"""One pass over a trace: predict, score, learn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streams.lab.evaluate.ahead import HorizonScores
from streams.lab.evaluate.demand import DemandErrors, demand
from streams.lab.evaluate.scores import PredictionScores, summary
from streams.lab.evaluate.when import HORIZONS_MS, ArrivalScores
from streams.models.next_request import state_codec as rows
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
        Score the vectors as they are published, over all phases of a silence. Otherwise those of
        the phase in which each event came: what workers learn from, and make demand of.
    """
    mixture, state = NextRequestMixture(config), dict[str, Any]()
    names = ("mixture", *mixture.experts, *(NETWORKS if mixture.config.rnn else ()))
    scores, when, ahead = PredictionScores(names, SLICES), ArrivalScores(), HorizonScores()
    spent = 0
    for done, request in enumerate(_reported(requests, advance)):
        begun = time.thread_time_ns()
        profile = mixture.profile(state, request.user)
        given = mixture.prediction_given(state, profile, profile.gap_to(request.at_ms))
        spent += time.thread_time_ns() - begun
        if len(profile):
            item = mixture.vocabulary(state).find(request.service)
            scored = mixture.prediction(state, profile) if published else given
            _score(scores, scored, profile, item)
            _score_gap(when, mixture, state, request)
        begun = time.thread_time_ns()
        _learn(mixture, state, request, str(done), given)
        spent += time.thread_time_ns() - begun
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
    return [len(rows.encode(row)) for key, row in state.items() if key.startswith("u/")]


def _score(
    scores: PredictionScores,
    prediction: MixturePrediction,
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
    table = prediction.table[NextRequestMixture.rows, :]
    if prediction.joined is not None:
        table = np.vstack([table, *network_rows(prediction)])
    scores.add(table, prediction.column(item), flags, prediction.others)


def _score_gap(
    when: ArrivalScores, mixture: NextRequestMixture, state: dict[str, Any], request: Request
) -> None:
    profile = mixture.profile(state, request.user)
    gaps_ms = mixture.outlook(state, profile, HORIZONS_MS[0]).expected_ms
    within = [mixture.within(state, profile, horizon) for horizon in HORIZONS_MS]
    gap = max(request.at_ms - profile.last_ms, 0)
    when.add(request.user, gap, within, gaps_ms)
