from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import TypeVar

import pytest

from streams.adapters.avro import codec
from streams.adapters.avro.codec import decode
from streams.allocator.stage import AllocatorStage
from streams.engine.outbox import OutputTooLarge, bounded
from streams.engine.partitioning import partition_of
from streams.flow.topology import STAGES
from streams.pipeline.assembly import stages_of
from streams.pipeline.replay import PackedRecord, ReplayedFlow, at_price, replay
from streams.records import (
    Action,
    ColdStart,
    Command,
    DeadLetter,
    Demand,
    Feedback,
    Instance,
    Outcome,
    Prediction,
    Record,
    Request,
    Result,
)
from streams.records.catalog import Catalog, Composite, Constituent, Pool, Resources, Tier
from streams.records.control import STANDARD, Control, Variant
from streams.records.trials import Trial
from streams.report.summary import summarise
from streams.settings import Settings

CATALOG = Catalog.of(
    [
        *(
            Constituent(service=name, needs=Resources(cpu=1.0), warm_up_ms=warm_up_ms, price=1.0)
            for name, warm_up_ms in (("base", 20_000), ("red", 4_000), ("blue", 4_000))
        ),
        Composite(service="draw red", steps=(("base", "red"),)),
        Composite(service="draw blue", steps=(("base", "blue"),)),
        Tier(tier="standard", weight=0.1, sla_ms=1_000),
        Pool(pool="default", capacity=Resources(cpu=8.0)),
    ]
)
T = TypeVar("T")
SETTINGS = Settings(partitions=4)


def requests(count: int) -> list[Request]:
    """Two users who each ask for the same again every half minute."""
    return [
        Request(
            request_id=f"r{i}",
            user=("ann", "bob")[i % 2],
            service=("draw red", "draw blue")[i % 2],
            at_ms=1_000_000 + 15_000 * i,
        )
        for i in range(count)
    ]


def of_kind(kind: type[T], records: list[Record]) -> list[T]:
    return [r for r in records if isinstance(r, kind)]


def test_there_is_a_stage_for_every_row_of_the_topology() -> None:
    stages = stages_of(SETTINGS)
    assert list(stages) == list(STAGES)
    assert all(stage.name == name for name, stage in stages.items())


def test_the_time_to_serve_a_request_is_that_of_the_settings() -> None:
    allocator = stages_of(replace(SETTINGS, serve_ms=7_000))["allocator"]
    assert isinstance(allocator, AllocatorStage)
    assert allocator.config.serve_ms == 7_000


def test_partitions_are_those_of_kafkas_default_partitioner() -> None:
    """Expected values by org.apache.kafka.common.utils.Utils.murmur2."""
    assert [partition_of(key, 1 << 30) for key in (b"21", b"foobar")] == [
        (-973932308 & 0x7FFFFFFF) % (1 << 30),
        (-790332482 & 0x7FFFFFFF) % (1 << 30),
    ]


def test_each_request_has_one_prediction_one_outcome_and_one_feedback() -> None:
    made = list(replay(requests(40), SETTINGS, CATALOG))
    counts = Counter(type(record) for record in made)
    assert counts[Request] == counts[Prediction] == counts[Outcome] == counts[Feedback] == 40
    assert {o.request_id for o in of_kind(Outcome, made)} == {r.request_id for r in requests(40)}
    assert not counts[DeadLetter]


def test_regular_users_find_their_services_warm_after_a_while() -> None:
    made = list(replay(requests(60), SETTINGS, CATALOG))
    results = [outcome.result for outcome in of_kind(Outcome, made)]
    assert results[0] is Result.MISS
    assert set(results[-20:]) == {Result.HIT}
    assert {instance.service for instance in of_kind(Instance, made)} == {"base", "red", "blue"}


def test_a_miss_starts_what_is_missing_as_the_gateway_does() -> None:
    made = list(replay(requests(1), SETTINGS, CATALOG))
    starts = of_kind(ColdStart, made)
    assert {start.service for start in starts} == {"base", "red"}
    lives = {instance.service: instance for instance in of_kind(Instance, made)}
    assert lives["base"].command_id == "standard/r0"
    assert lives["base"].warm_since_ms == 1_000_000 + 20_000


def test_what_a_miss_has_started_counts_for_the_tier_of_its_user() -> None:
    made = list(replay(requests(1), SETTINGS, CATALOG))
    found = summarise(of_kind(Outcome, made), of_kind(Instance, made), of_kind(Command, made))
    assert found.pools["default"].instances_by_tier.keys() == {"standard"}


def test_what_a_miss_has_started_is_given_back_once_warm_when_it_is_not_worth_keeping() -> None:
    once = requests(1)[0]
    log: list[Record] = [*at_price(1e6, CATALOG), once]
    log.append(replace(once, request_id="r1", at_ms=9_000_000))
    made = of_kind(Instance, list(replay(log, SETTINGS, CATALOG)))
    gone_ms = [instance.gone_ms for instance in made if instance.gone_ms]
    assert len(gone_ms) == 2
    assert max(gone_ms) <= 1_000_000 + 20_000 + SETTINGS.tick_ms


@pytest.mark.parametrize(("serve_ms", "several"), [(0, False), (30_000, True)])
def test_a_second_instance_is_kept_only_where_a_request_makes_one_busy(
    serve_ms: int, several: bool
) -> None:
    flow = ReplayedFlow(SETTINGS, CATALOG, serve_ms=serve_ms)
    log: list[Record] = [*at_price(1e-3, CATALOG), *requests(40)]
    for record in log:
        list(flow.feed(record))
    kept = Counter(i.service for i in flow.instances.values() if i.gone_ms is None)
    assert kept["base"] >= 1
    assert (kept["base"] > 1) == several


def test_time_passes_between_requests_stage_by_stage() -> None:
    """Ann is silent for an hour: demand for what she asks is published as it falls."""
    flow = ReplayedFlow(SETTINGS, CATALOG)
    for request in requests(40):
        list(flow.feed(request))
    passed = flow.advance(1_000_000 + 15_000 * 39 + 3_600_000)
    demands = of_kind(Demand, [made.record for made in passed])
    assert len(demands) > 10
    assert [demand.at_ms for demand in demands] == sorted(demand.at_ms for demand in demands)
    expected = [sum(s.expected for s in demand.services) for demand in demands]
    assert expected[-1] < expected[0] / 10


def test_a_replay_gives_the_same_records_every_time() -> None:
    once, again = (list(replay(requests(40), SETTINGS, CATALOG)) for _ in range(2))
    assert once == again


def visits(count: int) -> Iterator[Request]:
    """Six users who ask for the one or the other, half of them often and half of them seldom."""
    numbers, due = Random(1), [(1_000_000 + 60_000 * user, user) for user in range(6)]
    for i in range(count):
        at_ms, user = heapq.heappop(due)
        service = numbers.choice(["draw red", "draw blue"])
        yield Request(request_id=f"r{i}", user=f"u{user}", service=service, at_ms=at_ms)
        gap_ms = numbers.lognormvariate((10.5, 12.5)[user % 2], 1.5)
        heapq.heappush(due, (at_ms + round(gap_ms), user))


def test_the_horizon_of_vectors_decides_nothing() -> None:
    log: list[Record] = [*at_price(10.0, CATALOG), *visits(400)]
    told = [
        of_kind(Command, list(replay(log, replace(SETTINGS, horizon_ms=ms), CATALOG)))
        for ms in (1_000, 60_000, 900_000)
    ]
    assert told[0] == told[1] == told[2]
    assert {command.action for command in told[0]} == {Action.PROVISION, Action.RELEASE}


def test_what_users_are_expected_to_do_depends_on_no_price() -> None:
    rng, asked = Random(5), requests(0)
    for n, (user, service) in enumerate([("ann", "draw red"), ("bob", "draw blue")] * 60):
        moved = service if n < 60 or rng.random() < 0.3 else "draw red"
        at_ms = 1_000_000 + 15_000 * n + rng.randrange(9_000)
        asked.append(Request(request_id=f"r{n}", user=user, service=moved, at_ms=at_ms))
    cheap, dear = (
        list(replay([*at_price(p, CATALOG), *asked], SETTINGS, CATALOG)) for p in (0.01, 50.0)
    )
    assert of_kind(Outcome, cheap) != of_kind(Outcome, dear)
    assert of_kind(Prediction, cheap) == of_kind(Prediction, dear)
    assert of_kind(Demand, cheap) == of_kind(Demand, dear)


def test_an_unusable_request_becomes_one_dead_letter_and_hurts_nothing_else() -> None:
    good = requests(20)
    bad = replace(good[5], request_id="bad", service="unknown")
    made = list(replay([*good[:5], bad, *good[5:]], SETTINGS, CATALOG))
    (dead,) = of_kind(DeadLetter, made)
    assert (dead.topic, dead.stage, dead.key) == ("requests", "profiler", bad.user.encode())
    assert "unknown" in dead.reason
    assert dead.value is not None
    assert decode(dead.value) == bad
    clean = list(replay(good, SETTINGS, CATALOG))
    assert [r for r in made if r not in (dead, bad)] == clean


def test_a_time_far_after_the_log_was_received_is_refused() -> None:
    flow = ReplayedFlow(SETTINGS, CATALOG, received_ms=2_000_000)
    late = replace(requests(1)[0], at_ms=200_000_000)
    (dead,) = of_kind(DeadLetter, list(flow.feed(late)))
    assert "after the record was produced" in dead.reason


def test_state_that_went_through_bytes_changes_nothing() -> None:
    """As after a restart, at every point of the log."""
    plain, restarted = ReplayedFlow(SETTINGS, CATALOG), ReplayedFlow(SETTINGS, CATALOG)
    stages = stages_of(SETTINGS)
    for request in requests(40):
        expected = list(plain.feed(request))
        assert list(restarted.feed(request)) == expected
        for name, stage in stages.items():
            for partition in range(SETTINGS.partitions):
                rows = restarted.state(name, partition)
                for key in rows:
                    rows[key] = stage.decode(stage.encode(rows[key]))


@pytest.mark.parametrize("cut", [1, 20, 33])
def test_a_flow_goes_on_from_what_another_one_saved(cut: int) -> None:
    asked = requests(40)
    earlier, later = ReplayedFlow(SETTINGS, CATALOG), ReplayedFlow(SETTINGS, CATALOG)
    for request in asked[:cut]:
        list(earlier.feed(request))
    assert earlier.checkpoint() == []
    for (stage, partition), state in earlier.states.items():
        later.state(stage, partition).load(state.save())
    for instance in earlier.instances.values():
        later.see(instance)
    later.resume(earlier.offsets)

    for request in asked[cut:]:
        assert list(later.feed(request)) == list(earlier.feed(request))


def test_a_later_step_of_a_chain_is_warmed_while_the_first_runs() -> None:
    """The receipt starts in 6 s and is asked for 8 s after the order, 4 s after the payment."""
    starts_ms = {"order": 500, "pay": 500, "receipt": 6_000}
    catalog = Catalog.of(
        [
            *(
                Constituent(service=name, needs=Resources(cpu=1.0), warm_up_ms=ms, price=1.0)
                for name, ms in starts_ms.items()
            ),
            Tier(tier="standard", weight=0.1, sla_ms=1_000),
            Pool(pool="default", capacity=Resources(cpu=8.0)),
        ]
    )
    asked = [
        Request(
            request_id=f"{service}-{session}",
            user=f"u{session % 3}",
            service=service,
            at_ms=1_000_000 + 7_200_000 * session + 4_000 * step,
        )
        for session in range(40)
        for step, service in enumerate(starts_ms)
    ]
    made = list(replay(asked, SETTINGS, catalog))

    results = {outcome.request_id: outcome.result for outcome in of_kind(Outcome, made)}
    assert results["receipt-0"] is Result.MISS
    assert {results[f"receipt-{session}"] for session in range(30, 40)} == {Result.HIT}


def test_the_champion_comes_to_the_same_on_paper_as_for_real() -> None:
    """All but the last request is judged; what comes of them differs by less than a fiftieth."""
    flow, made, count = ReplayedFlow(SETTINGS, CATALOG), list[Record](), 200
    made += flow.feed(Control(pool="default", variants=(STANDARD, Variant(name="dear", price=50))))
    for request in requests(count):
        made += flow.feed(request)
    standard, dear = of_kind(Trial, made)[-1].scores
    saved_ms = sum(outcome.saved_ms for outcome in of_kind(Outcome, made))
    assert count - 2 <= standard.requests == dear.requests <= count
    assert 0.98 * saved_ms <= standard.saved_ms <= 1.02 * saved_ms
    assert dear.saved_ms < standard.saved_ms
    assert dear.wasted_ms < standard.wasted_ms


def test_an_output_that_cannot_be_packed_is_a_dead_letter_and_the_others_go_on() -> None:
    def pack(record: Record) -> PackedRecord:
        if isinstance(record, Prediction) and record.request_id == "r3":
            raise OutputTooLarge("Prediction of 2000000 bytes")
        return PackedRecord(record, bounded(codec.encode, record))

    flow = ReplayedFlow(SETTINGS, CATALOG, pack=pack)
    made = [record for request in requests(8) for record in flow.feed(request)]
    (letter,) = of_kind(DeadLetter, made)
    assert letter.reason == "profiler failed: OutputTooLarge: Prediction of 2000000 bytes"
    assert [p.request_id for p in of_kind(Prediction, made)] == [
        f"r{n}" for n in range(8) if n != 3
    ]


def test_what_a_step_makes_is_encoded_once() -> None:
    encoded: list[Record] = []

    def pack(record: Record) -> PackedRecord:
        encoded.append(record)
        return PackedRecord(record, codec.encode(record))

    flow = ReplayedFlow(SETTINGS, CATALOG, pack=pack)
    (first,) = requests(1)
    made = list(flow.feed(first))
    assert encoded == made[1:]


def shop(*names: str) -> Catalog:
    """A composite of each constituent."""
    return Catalog.of(
        [
            *(
                Constituent(service=f"{n}-1", needs=Resources(cpu=1), warm_up_ms=2_000, price=0.02)
                for n in names
            ),
            *(Composite(service=name, steps=((f"{name}-1",),)) for name in names),
            Tier(tier="standard", weight=0.005, sla_ms=2_000),
            Pool(pool="default", capacity=Resources(cpu=40.0)),
        ]
    )


def test_a_service_that_comes_back_into_the_catalogue_was_not_asked_for_as_often_at_once() -> None:
    """Eighty requests before it went are none that come in the second in which it is back."""
    flow, at_ms = ReplayedFlow(Settings(partitions=1), shop("a", "b"), serve_ms=1_000), 10**12
    started = 0
    for service, count, gap_ms in (("a", 80, 400), ("b", 5, 4_000), ("a", 25, 400)):
        flow.catalog = shop("b") if service == "b" else shop("a", "b")
        for _ in range(count):
            at_ms += gap_ms
            request = Request(request_id=f"r{at_ms}", user="ann", service=service, at_ms=at_ms)
            made = [r for r in flow.feed(request) if isinstance(r, Command)]
            started += sum(c.count for c in made if c.action is Action.PROVISION)
    assert started < 8
