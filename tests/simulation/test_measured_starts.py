"""What feedback is worth: start-up times as measured, where the catalogue is wrong about them."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from streams.flow.declaration import StageRow
from streams.lab.compare.ledger import PolicyLedger
from streams.lab.compare.staged import RecordLedger
from streams.pipeline.replay import PackedRecord, QueuedRecord, ReplayedFlow
from streams.records import Outcome, Request
from streams.records.catalog import Catalog, Composite, Constituent, Pool, Resources, Tier
from streams.settings import Settings
from streams.stages.base import StepContext

MINUTE_MS = 60_000
WORLD = {"interceptor", "provisioner"}  # stages for which a start takes as long as it does


def catalog(warm_up_ms: int) -> Catalog:
    return Catalog.of(
        [
            Constituent(
                service="model", needs=Resources(cpu=1.0), warm_up_ms=warm_up_ms, price=1.0
            ),
            Composite(service="draw", steps=(("model",),)),
            Tier(tier="", weight=0.01, sla_ms=1_000),
            Pool(pool="default", capacity=Resources(cpu=100.0)),
        ]
    )


class MeasuredFlow(ReplayedFlow):
    """A flow that is told by the catalogue how long a start takes, and measures how long it does."""

    def __init__(self, told_ms: int, true_ms: int, *, feedback: bool) -> None:
        super().__init__(Settings(partitions=1), catalog(told_ms))
        self.true_ms, self.true_catalog = true_ms, catalog(true_ms)
        if not feedback:
            self._readers = {**self._readers, "feedback": []}

    def _context(self, row: StageRow, partition: int) -> StepContext:
        context = super()._context(row, partition)
        return context._replace(catalog=self.true_catalog) if row.name in WORLD else context

    def _publish(self, packed: PackedRecord) -> QueuedRecord:
        record, _ = packed
        if isinstance(record, Outcome):  # as a gateway measures the starts that it waits for
            parts = [
                part if part.warm else replace(part, warm_up_ms=self.true_ms)
                for part in record.parts
            ]
            packed = PackedRecord(replace(record, parts=tuple(parts)))
        return super()._publish(packed)


def requests() -> list[Request]:
    """Twenty users who come back after 20 to 40 minutes, for ten hours."""
    rng = Random(1)
    asked = [
        (at_ms, user)
        for user in range(20)
        for start_ms in [rng.randrange(600 * MINUTE_MS)]
        for at_ms in [start_ms + n * rng.randrange(20, 40) * MINUTE_MS for n in range(3)]
    ]
    return [
        Request(request_id=str(n), user=f"user {user}", service="draw", at_ms=10**12 + at_ms)
        for n, (at_ms, user) in enumerate(sorted(asked))
    ]


def cost(told_ms: int, true_ms: int, *, feedback: bool) -> float:
    """Of warm time and true waits."""
    flow, log = MeasuredFlow(told_ms, true_ms, feedback=feedback), requests()
    account = RecordLedger(PolicyLedger(catalog(true_ms), 0))
    for request in log:
        for record in flow.feed(request):
            account.take(record)
    ledger = account.close(log[-1].at_ms)
    return ledger.cost + sum(judged.worth for judged in ledger.judged)


@pytest.mark.parametrize(
    ("told_ms", "true_ms", "most"), [(2_000, 60_000, 0.4), (60_000, 2_000, 1.0)]
)
def test_measured_starts_make_allocation_cheaper_where_the_catalogue_is_wrong(
    told_ms: int, true_ms: int, most: float
) -> None:
    with_it, without = (cost(told_ms, true_ms, feedback=each) for each in (True, False))
    assert with_it < most * without


def test_measured_starts_that_are_as_the_catalogue_says_change_nothing() -> None:
    assert cost(60_000, 60_000, feedback=True) == cost(60_000, 60_000, feedback=False)
