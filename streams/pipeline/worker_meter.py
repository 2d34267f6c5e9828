"""The figures of a worker as Prometheus metrics: what runners tell, stages make, and stages sum up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from typing import Any

from streams.adapters.metrics import outcomes, table
from streams.adapters.metrics.running_totals import RunningTotals
from streams.allocator.figures import PoolFigures
from streams.allocator.stage import AllocatorStage
from streams.flow.topology import STAGES
from streams.models.next_request.experts import EXPERTS
from streams.models.next_request.score_tally import ScoreTally, view_of
from streams.records import Outcome, Record
from streams.records.verdicts import Verdict
from streams.stages.base import Stage
from streams.stages.profiler import ProfilerStage

__all__ = ["StageFigures", "WorkerMeter", "observe"]

_MODELS = ("mixture", *EXPERTS)
_OF_POOLS = (table.DECIDED, table.BUDGET, table.SPENDING, table.QUEUED_WANTS)
_BAD = ("failed", "lost", "forgotten")  # outcomes of which the first is an alert
_OBSERVED = {"allocator", "interceptor"}  # stages that make what is observed


class WorkerMeter:
    """What the runners of a worker tell; see `StageMeter`.

    Parameters
    ----------
    stages
        Those that it runs, by name.
    """

    def __init__(self, stages: Mapping[str, Stage[Any]]) -> None:
        self._stages = stages
        for stage, outcome in product(stages, _BAD):
            for topic in STAGES[stage].reads:
                table.RECORDS.labels(stage, topic, outcome)  # an increase needs the 0 before

    def records(self, stage: str, topic: str, outcome: str, count: int) -> None:
        """Count records of a topic, by outcome."""
        table.RECORDS.labels(stage, topic, outcome).inc(count)

    def failed_ticks(self, stage: str, partition: int, count: int) -> None:
        """Count parts of ticks that have failed."""
        table.FAILED_TICKS.labels(stage, str(partition)).inc(count)

    def batch(self, stage: str, seconds: float) -> None:
        """Observe the time of a batch from being fetched to being saved."""
        table.BATCH_SECONDS.labels(stage).observe(seconds)

    def delay(self, stage: str, seconds: float) -> None:
        """Observe the age of a batch's first record."""
        table.DELAY_SECONDS.labels(stage).observe(seconds)

    def lag(self, stage: str, partition: int, count: int) -> None:
        """Set the lag of a partition."""
        table.LAG.labels(stage, str(partition)).set(count)

    def left(self, stage: str, partition: int) -> None:
        """End the figures of a partition that another worker has now."""
        self.lag(stage, partition, 0)
        if isinstance(allocator := self._stages[stage], AllocatorStage):
            allocator.figures.leave(partition)

    def observer(self, stage: str) -> Callable[[Record], None] | None:
        """`observe`, for stages of which something is observed."""
        return observe if stage in _OBSERVED else None


def observe(record: Record) -> None:
    """Count an outcome, or a decision in force."""
    match record:
        case Outcome():
            outcomes.count(record)
        case Verdict(challenger=""):
            pool, choice = table.POOLS(record.pool), record.choice
            table.DECISIONS.labels(pool, choice, record.bound, record.mode).inc()


class StageFigures:
    """What stages sum up themselves; call `tell` whenever Prometheus asks.

    Parameters
    ----------
    stages
        Those of the worker, by name.
    letters
        Dead letters of each stage since the start, by kind of reason.
    """

    def __init__(
        self, stages: Mapping[str, Stage[Any]], letters: Iterable[Mapping[str, int]]
    ) -> None:
        self._profiler, self._allocator = stages.get("profiler"), stages.get("allocator")
        self._letters = tuple(letters)
        self._totals = RunningTotals()
        self._pools = set[str]()  # with gauges, as they were told
        for model in _MODELS:
            table.LOG_LOSS.labels(model)  # a rate needs the 0 before the first

    def tell(self) -> None:
        """Set the metrics."""
        for reason in table.DEAD_REASONS:
            count = sum(each.get(reason, 0) for each in self._letters)
            self._totals.follow(table.DEAD_LETTERS.labels(reason), count)
        if isinstance(self._profiler, ProfilerStage):
            self._tell_scores(view_of(self._profiler.mixture.tally))
        if isinstance(self._allocator, AllocatorStage):
            self._tell_pools(dict(self._allocator.figures))

    def _tell_scores(self, tally: ScoreTally) -> None:
        follow = self._totals.follow
        for model, loss in zip(_MODELS, tally.losses.tolist(), strict=True):
            follow(table.LOG_LOSS.labels(model), loss)
        follow(table.SCORED, float(tally.scored.sum()))
        columns = [part.tolist() for part in (tally.predicted, tally.came, tally.scored)]
        for label, predicted, came, scored in zip(table.PROBABILITIES, *columns, strict=True):
            follow(table.TOP_PREDICTED.labels(label), predicted)
            follow(table.TOP_CAME.labels(label), came)
            follow(table.TOP_SCORED.labels(label), scored)

    def _tell_pools(self, pools: Mapping[str, PoolFigures]) -> None:
        expected, arrived = Counter[str](), Counter[str]()
        live = {pool: figures for pool, figures in pools.items() if figures.decided_ms}
        names = {pool: table.POOLS(pool) for pool in live}
        for name, gauge in product(self._pools - {*names.values()}, _OF_POOLS):
            gauge.remove(name)
        self._pools = {*names.values()}
        for pool, figures in live.items():
            name = names[pool]
            table.DECIDED.labels(name).set(figures.decided_ms / 1000)
            table.BUDGET.labels(name).set(figures.budget)
            table.SPENDING.labels(name).set(figures.spending)
            table.QUEUED_WANTS.labels(name).set(figures.queued)
        for figures in pools.values():
            expected.update(figures.expected())
            arrived.update(figures.arrived)
        self._totals.follow_each(table.EXPECTED_REQUESTS, table.SERVICES, expected)
        self._totals.follow_each(table.ARRIVED_REQUESTS, table.SERVICES, arrived)
