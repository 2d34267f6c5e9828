"""What users invent fills no row and no record: bounds are in bytes, and known names have room."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from aggregated import State, expected, feedback, prediction

from streams.adapters.avro import codec
from streams.models.next_request import vocabulary
from streams.models.next_request.state_codec import encode
from streams.models.next_request.vocabulary import ServiceVocabulary
from streams.records import Demand, MeasuredWarmUp, Prediction, Record, Request
from streams.records.catalog import Catalog, Composite, Constituent, Pool, Resources, Tier
from streams.stages import profiler
from streams.stages.aggregator import state as sums
from streams.stages.aggregator.stage import Aggregator
from streams.stages.base import NoRoom, RecordUnusable, StepContext, admit
from streams.stages.profiler import ProfilerStage

MIB = 1 << 20
KNOWN = Catalog.of(
    [
        Constituent(service="part", needs=Resources(cpu=1.0), warm_up_ms=1, price=0.0),
        Composite(service="draw", steps=(("part",),)),
        Tier(tier="gold", weight=1.0, sla_ms=1),
        Pool(pool="p", capacity=Resources(cpu=1.0)),
    ]
)


def invented(count: int) -> Iterator[str]:
    """Names as long as requests may have, each of its own, of four bytes a character."""
    return (f"{number:06d}".ljust(256, "\U0001f600") for number in range(count))


def aggregated(events: list[Record], catalog: Catalog) -> tuple[State, list[Demand]]:
    """The rows after these events, and the demand at their end."""
    rows: State = {}
    stage, context = Aggregator(), StepContext(3, 0, catalog)
    for event in events:
        list(stage.step(event, rows, context))
    made = stage.tick(1_000_000, rows, context)
    return rows, [record for record in made if isinstance(record, Demand)]


def largest(rows: State, demands: list[Demand]) -> int:
    """Bytes of the largest row or record."""
    sizes = [len(Aggregator().encode(row)) for row in rows.values()]
    return max(*sizes, *(len(codec.encode(demand)) for demand in demands))


def asked(tier: str = "gold", pool: str = "p", service: str = "draw") -> Record:
    return prediction(f"user of {tier[:6]} {service[:6]}", 10, {service: 0.5}, tier=tier, pool=pool)


def test_users_of_tiers_that_the_catalogue_does_not_have_count_together() -> None:
    _, (demand,) = aggregated([asked(tier="a"), asked(tier="b"), asked()], KNOWN)
    assert list(expected(demand)) == [("draw", ""), ("draw", "gold")]


def test_without_tiers_in_the_catalogue_every_tier_counts_by_itself() -> None:
    _, (demand,) = aggregated([asked(tier="a"), asked(tier="b")], Catalog())
    assert list(expected(demand)) == [("draw", "a"), ("draw", "b")]


@pytest.mark.parametrize("kind", ["tier", "service"])
def test_names_that_nobody_knows_fill_neither_rows_nor_demand(kind: str) -> None:
    events = [asked(**{kind: name}) for name in invented(2_000)]
    assert largest(*aggregated(events, Catalog())) < MIB


def test_known_names_have_room_however_many_others_are_invented() -> None:
    events = [asked(tier=name, service="draw") for name in invented(2_000)]
    events += [asked(service=name) for name in invented(2_000)]
    rows, (demand,) = aggregated([*events, asked()], KNOWN)
    assert list(expected(demand)) == [("draw", ""), ("draw", "gold")]
    assert largest(rows, [demand]) < 30_000


def test_start_up_times_of_unknown_constituents_are_not_kept() -> None:
    wrong = [feedback(name, 100) for name in invented(100)]
    _, (demand,) = aggregated([*wrong, feedback("part", 100), asked()], KNOWN)
    assert [measured.service for measured in demand.warm_ups] == ["part"]


def test_start_up_times_are_kept_as_far_as_there_is_room() -> None:
    told = [feedback(name, 100) for name in invented(2_000)]
    rows, (demand,) = aggregated([asked(), *told], Catalog())
    assert largest(rows, [demand]) < MIB
    assert 0 < len(demand.warm_ups) < 2_000


def test_series_with_the_largest_numbers_fit_too() -> None:
    pool = sums.PoolSums()
    for number in range(100_000):
        pool.count(f"s{number}", "gold")
    every = range(len(pool.series))
    values = np.full(len(pool.series), 2**63 - 1)
    pool.early, pool.late = sums.SeriesSums(values), sums.SeriesSums(values)
    pool.seen = dict.fromkeys(every, 2**53)
    assert 15_000 < len(pool.series) < 100_000
    assert len(Aggregator().encode(pool)) < MIB
    assert len(codec.encode(demand_of(pool))) < MIB


def demand_of(pool: sums.PoolSums) -> Demand:
    pool.early = pool.late = sums.SeriesSums(pool.early.values // 4)
    return Demand(pool="p", partition=0, at_ms=0, horizon_ms=1, services=pool.demand(60_000))


def test_the_room_is_the_same_after_a_restart() -> None:
    pool, stage = sums.PoolSums(), Aggregator()
    pool.count("draw", "gold")
    pool.measure(MeasuredWarmUp(service="part", count=1, total_ms=1, squares_ms2=1.0))
    again = stage.decode(stage.encode(pool))
    assert isinstance(again, sums.PoolSums)
    assert again.left == pool.left < sums.PoolSums().left


def test_a_pool_that_the_catalogue_does_not_have_is_refused() -> None:
    with pytest.raises(RecordUnusable, match="pool 'q' is not in the catalogue"):
        aggregated([asked(pool="q")], KNOWN)
    request = Request(request_id="r", user="u", service="draw", at_ms=1, pool="q")
    with pytest.raises(RecordUnusable, match="pool 'q' is not in the catalogue"):
        admit(request, StepContext(catalog=KNOWN))
    admit(replace(request, pool="p"), StepContext(catalog=KNOWN))
    admit(request, StepContext())


def test_a_vocabulary_is_bounded_in_bytes() -> None:
    names = ServiceVocabulary(["first"])
    numbers = [names.number(name) for name in invented(3_000)]
    assert len(encode(names)) < MIB
    assert numbers[-1] == len(names) - 1 == numbers[-2]
    assert names.number("first") == 0


def test_a_vocabulary_from_a_row_has_as_much_room_left() -> None:
    whole = ServiceVocabulary()
    for name in invented(3_000):
        whole.number(name)
    again = ServiceVocabulary(whole.names)
    assert again.number("another") == whole.number("another")
    assert sum(len(name.encode()) for name in again.names) <= vocabulary.MOST_BYTES


def test_a_vector_is_bounded_in_bytes_and_the_rest_counts_as_unseen() -> None:
    stage, rows, made = ProfilerStage(), dict[str, object](), list[Prediction]()
    for number, name in enumerate(invented(100)):
        request = Request(request_id=name, user="u", service=name, at_ms=60_000 * number)
        made += stage.step(request, rows, StepContext())  # type: ignore[arg-type]  # predictions
    assert max(len(codec.encode(vector)) for vector in made) < 2 * profiler.MOST_BYTES
    assert len(made[0].services) == 1
    assert len(made[-1].services) == profiler.MOST_BYTES // len(name.encode())
    assert made[-1].unseen + sum(s.probability for s in made[-1].services) == pytest.approx(1.0)


def test_pools_of_which_no_catalogue_knows_are_few() -> None:
    events = [asked(pool=name) for name in list(invented(16))]
    rows, demands = aggregated(events, Catalog())
    assert (len(demands), sum(len(Aggregator().encode(row)) for row in rows.values()) < MIB) == (
        16,
        True,
    )
    with pytest.raises(NoRoom, match="at most 16 that no catalogue has"):
        aggregated([*events, asked()], Catalog())
