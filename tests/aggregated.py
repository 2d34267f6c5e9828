"""Predictions for the aggregator, and the demand that it publishes."""

from __future__ import annotations

from dataclasses import replace

from streams.models.arrival.silence import EDGES_MS
from streams.records import (
    Demand,
    Feedback,
    MeasuredWarmUp,
    Prediction,
    Record,
    Result,
    ServiceProbability,
)
from streams.stages.aggregator.stage import Aggregator, AggregatorConfig
from streams.stages.aggregator.state import (
    PoolSums,
    Row,
)
from streams.stages.base import StepContext

__all__ = [
    "EXACT",
    "FIRST",
    "FOR_EVER_MS",
    "HOUR_MS",
    "NOW",
    "TICK_MS",
    "State",
    "asks",
    "at",
    "demands",
    "due",
    "expected",
    "feed",
    "feedback",
    "later",
    "prediction",
    "request",
    "sums",
    "through_bytes",
]

TICK_MS = 1_000
HOUR_MS = 3_600_000
FOR_EVER_MS = 2 * EDGES_MS[-1]  # longer than all stages of a silence
FIRST = 60_000 * 0.3 / 15_000  # requests of a user within the horizon as long as nothing is learnt

State = dict[str, Row]
EXACT = AggregatorConfig(tick_ms=TICK_MS, news=0.0)  # every change is published
NOW = replace(EXACT, margin_ms=0)  # a user counts with the hazard of now


def prediction(
    user: str,
    made_ms: int,
    probabilities: dict[str, float],
    *,
    tier: str = "gold",
    pool: str = "p",
) -> Prediction:
    return Prediction(
        request_id=f"{user}/{made_ms}",
        user=user,
        services=tuple(
            ServiceProbability(service=s, probability=p, within=0.0, soon=p / 4)
            for s, p in probabilities.items()
        ),
        unseen=0.0,
        horizon_ms=60_000,
        expected_ms=(1, 2, 3),
        soon=0.25,
        made_ms=made_ms,
        expires_ms=10**9,
        model="m",
        tier=tier,
        pool=pool,
    )


def feedback(service: str, ms: int, request_id: str = "") -> Feedback:
    measured = MeasuredWarmUp(service=service, count=1, total_ms=ms, squares_ms2=float(ms * ms))
    return Feedback(
        request_id=request_id or service,
        user="ann",
        tier="gold",
        pool="p",
        service="draw",
        at_ms=0,
        result=Result.MISS,
        warm_ups=(measured,),
    )


def request(
    service: str, request_id: str, at_ms: int = 0, *, user: str = "ann", pool: str = "p"
) -> Prediction:
    """The prediction after a request of a user of whom nothing else is known."""
    made = prediction(user, at_ms, {}, pool=pool)
    return replace(made, request_id=request_id, asked=service)


def demands(records: list[Record]) -> list[Demand]:
    return [r for r in records if isinstance(r, Demand)]


def feed(
    events: list[Record],
    state: State | None = None,
    *,
    record_ms: int = 0,
    config: AggregatorConfig = EXACT,
) -> list[Demand]:
    rows, stage = {} if state is None else state, Aggregator(config)
    context = StepContext(partition=3, record_ms=record_ms)
    return demands([made for e in events for made in stage.step(e, rows, context)])


def at(now_ms: int, state: State, config: AggregatorConfig = EXACT) -> list[Demand]:
    return demands(list(Aggregator(config).tick(now_ms, state, StepContext(partition=3))))


def due(state: State) -> int | None:
    return Aggregator(EXACT).due(state)


def later(now_ms: int, state: State, config: AggregatorConfig = EXACT) -> list[Demand]:
    """What is sent until then, where ticks come when they are due."""
    sent = list[Demand]()
    while (due_ms := Aggregator(config).due(state)) is not None and due_ms <= now_ms:
        sent += at(due_ms, state, config)
    return sent


def expected(demand: Demand) -> dict[tuple[str, str], float]:
    return {(s.service, s.tier): s.expected for s in demand.services}


def through_bytes(state: State) -> State:
    stage = Aggregator()
    return {key: stage.decode(stage.encode(row)) for key, row in state.items()}


def sums(state: State, pool: str = "p") -> PoolSums:
    row = state[f"\x00pool/{pool}"]
    assert isinstance(row, PoolSums)
    return row


def asks(user: str, times: range, state: State, config: AggregatorConfig = NOW) -> list[Demand]:
    """A user asks for what bears their name at these times."""
    asked: list[Record] = [prediction(user, now_ms, {user: 1.0}) for now_ms in times]
    return feed(asked, state, config=config)
