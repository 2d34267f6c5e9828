"""What profiler and allocator sum up of themselves, and how a worker tells it."""

from __future__ import annotations

import math
from collections import deque
from itertools import product
from random import Random

import numpy as np
import pytest

from streams.adapters.metrics import table
from streams.allocator.stage import AllocatorStage
from streams.allocator.state_bytes import AllocatorRow
from streams.flow.topology import STAGES
from streams.models.next_request.experts import EXPERTS
from streams.models.next_request.mixture import NextRequestMixture
from streams.models.next_request.score_tally import view_of
from streams.pipeline.replay import ReplayedFlow
from streams.pipeline.worker_meter import StageFigures, WorkerMeter, observe
from streams.records import Request, Utilisation
from streams.records.catalog import Catalog, Constituent, Pool, Resources, Tier
from streams.records.control import Mode
from streams.records.verdicts import Choice, Verdict
from streams.settings import Settings
from streams.stages.aggregator.stage import Aggregator
from streams.stages.base import StepContext
from streams.stages.profiler import ProfilerStage


def learnt(mixture: NextRequestMixture, services: list[str]) -> list[float]:
    """Have a mixture learn these of one user; the probabilities that it gave to each but the first."""
    state: dict[str, object] = {}
    given = []
    for at, service in enumerate(services):
        vector = mixture.predict(state, "ann")
        if at:
            prediction = mixture.prediction(state, mixture.profile(state, "ann"))
            column = prediction.column(mixture.vocabulary(state).find(service))
            given.append(float(prediction.table[0, column]))
            assert sum(vector.values()) <= 1 + 1e-9
        mixture.learn(state, "ann", service, at_ms=at * 1_000, request_id=str(at))
    return given


def test_log_losses_are_those_of_the_predictions_before_each_request() -> None:
    mixture = NextRequestMixture()
    given = learnt(mixture, ["order", "pay"] * 10)
    tally = view_of(mixture.tally)

    assert tally.losses[0] == pytest.approx(-sum(map(math.log, given)))
    assert tally.scored.sum() == len(given)
    assert len(tally.losses) == 1 + len(EXPERTS)


def test_what_came_as_often_as_was_said_is_calibrated() -> None:
    mixture = NextRequestMixture()
    learnt(mixture, ["order", "pay"] * 200)
    tally = view_of(mixture.tally)

    assert np.all(tally.came <= tally.scored)
    assert tally.came.sum() == pytest.approx(tally.predicted.sum(), rel=0.1)


def test_what_an_alert_is_about_is_0_before_it_happens() -> None:
    WorkerMeter({"aggregator": Aggregator()})
    (told,) = table.RECORDS.collect()
    counts = {tuple(one.labels.values()): one.value for one in told.samples}
    for topic, outcome in product(STAGES["aggregator"].reads, ("failed", "lost", "forgotten")):
        assert counts["aggregator", topic, outcome] == 0


def test_a_worker_tells_what_its_profiler_sums_up() -> None:
    profiler = ProfilerStage()
    figures = StageFigures({"profiler": profiler}, [{"failed": 2}, {"failed": 1}])
    before = table.SCORED._value.get(), table.DEAD_LETTERS.labels("failed")._value.get()
    learnt(profiler.mixture, ["a", "b", "a"])
    figures.tell()
    figures.tell()

    assert table.SCORED._value.get() == before[0] + 2
    assert table.DEAD_LETTERS.labels("failed")._value.get() == before[1] + 3


def test_a_decision_is_counted_by_what_decided_it_and_one_of_a_challenger_is_not() -> None:
    def verdict(challenger: str) -> Verdict:
        return Verdict(
            pool="p", service="s", at_ms=1, choice=Choice.QUEUE, mode=Mode.ON, command_id="",
            instance=1, have=0, chance=0.5, value=1.0, cost=0.5, bound="memory", tier="",
            price=1.0, horizon_ms=1, warm_up_ms=1, challenger=challenger,
        )  # fmt: skip

    counter = table.DECISIONS.labels("p", "queue", "memory", "on")
    before = counter._value.get()
    for challenger in ("", "bold"):
        observe(verdict(challenger))

    assert counter._value.get() == before + 1


@pytest.mark.parametrize("why", ["out of the catalogue", "another worker has it"])
def test_a_pool_that_is_not_decided_on_here_any_more_has_no_gauges_and_keeps_its_sums(
    why: str,
) -> None:
    allocator, pool = AllocatorStage(), f"gone {why}"
    catalog = Catalog.of([Pool(pool=pool, capacity=Resources(cpu=4.0))])
    context, state = StepContext(partition=1, catalog=catalog), dict[str, AllocatorRow]()
    room = Resources(cpu=4.0)
    used = Utilisation(pool=pool, at_ms=1_000, capacity=room, used=Resources())
    deque(allocator.step(used, state, context), maxlen=0)
    deque(allocator.tick(1_000_000, state, context), maxlen=0)
    allocator.figures[pool].arrived["paint"] = 3
    figures = StageFigures({"allocator": allocator}, [])
    figures.tell()
    assert pool in pools_told()
    if why == "out of the catalogue":
        allocator.tick(1_000_000, state, StepContext(partition=1))
    else:
        WorkerMeter({"allocator": allocator}).left("allocator", 1)
    figures.tell()

    assert pool not in pools_told()
    assert allocator.figures[pool].arrived["paint"] == 3


def pools_told() -> set[str]:
    """The pools of which gauges are there."""
    gauges = (table.DECIDED, table.BUDGET, table.SPENDING, table.QUEUED_WANTS)
    return {s.labels["pool"] for gauge in gauges for told in gauge.collect() for s in told.samples}


def test_an_allocator_sums_up_what_it_expected_and_what_came() -> None:
    pool = Pool(pool="default", capacity=Resources(cpu=4.0), budget=7.0)
    paint = Constituent(service="paint", needs=Resources(cpu=1.0), warm_up_ms=1_000, price=2.0)
    tier = Tier(tier="standard", weight=0.1, sla_ms=1_000)
    flow = ReplayedFlow(Settings(partitions=2), Catalog.of([paint, pool, tier]))
    gaps, at_ms = Random(1), 1_000_000
    for number in range(200):
        at_ms += gaps.randrange(5_000, 25_000)
        request = Request(
            request_id=str(number), user=f"u{number % 2}", service="paint", at_ms=at_ms
        )
        deque(flow.feed(request), maxlen=0)
    allocator = flow.stages["allocator"]
    assert isinstance(allocator, AllocatorStage)
    figures = allocator.figures["default"]

    assert figures.arrived["paint"] == pytest.approx(200, abs=2)
    assert 200 < figures.expected()["paint"] < 1_000  # it looks ahead, by a stage of the silence
    assert figures.budget == 7.0
    assert figures.spending in {0.0, 2.0, 4.0, 6.0}
