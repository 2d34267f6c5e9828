from __future__ import annotations

from dataclasses import replace

import pytest

from streams.records import (
    ColdStart,
    Instance,
    InstanceState,
    LoggedUse,
    Outcome,
    Record,
    Request,
    Result,
    Route,
    Source,
    Watermark,
)
from streams.records.catalog import Catalog, Composite, Constituent, Pool, Resources
from streams.stages.base import RecordUnusable, StepContext
from streams.stages.interceptor import Interceptor, intercept

STEPS = (("base", "adapter"), ("upscale",))
WARM_UPS = {"base": 20_000, "adapter": 4_000, "upscale": 3_000}


def warm(service: str, since_ms: int = 0, *, name: str = "") -> Instance:
    return Instance(
        instance_id=name or f"{service}-1",
        service=service,
        pool="default",
        state=InstanceState.WARM,
        endpoint="",
        command_id="c",
        started_ms=since_ms - WARM_UPS.get(service, 0),
        changed_ms=since_ms,
        warm_since_ms=since_ms,
    )


def request(at_ms: int = 1_000, service: str = "draw") -> Request:
    return Request(request_id="r1", user="ann", service=service, at_ms=at_ms)


def made_of(
    asked: Request, *instances: Instance, catalog: Catalog | None = None
) -> tuple[Record, ...]:
    composites = {"draw": STEPS, "plain": (("base",),)}
    entries = [Composite(service=name, steps=steps) for name, steps in composites.items()] + [
        Constituent(service=name, needs=Resources(), warm_up_ms=ms, price=1.0)
        for name, ms in WARM_UPS.items()
    ]
    known = Catalog.of(entries) if catalog is None else catalog
    context = StepContext(catalog=known, instances={i.instance_id: i for i in instances})
    return tuple(Interceptor().step(asked, {}, context))


def judge(asked: Request, *instances: Instance, catalog: Catalog | None = None) -> Outcome:
    (outcome,) = (
        made for made in made_of(asked, *instances, catalog=catalog) if isinstance(made, Outcome)
    )
    return outcome


def found_cold(asked: Request, *instances: Instance) -> list[str]:
    """The constituents that are to be started."""
    return [made.service for made in made_of(asked, *instances) if isinstance(made, ColdStart)]


def test_every_part_warm_is_a_hit_that_saves_the_whole_critical_path() -> None:
    found = intercept(STEPS, {name: [warm(name)] for name in WARM_UPS}, 10, WARM_UPS)
    assert (found.result, found.cold_ms, found.saved_ms) == (Result.HIT, 0, 23_000)
    assert [part.instance_id for part in found.parts] == ["base-1", "adapter-1", "upscale-1"]


def test_no_part_warm_is_a_miss_that_pays_for_it() -> None:
    found = intercept(STEPS, {}, 10, WARM_UPS)
    assert (found.result, found.cold_ms, found.saved_ms) == (Result.MISS, 23_000, 0)


def test_a_warm_part_beside_a_slower_cold_one_saves_nothing() -> None:
    found = intercept(STEPS, {"adapter": [warm("adapter")]}, 10, WARM_UPS)
    assert (found.result, found.cold_ms, found.saved_ms) == (Result.PARTIAL, 23_000, 0)


def test_an_instance_counts_from_the_moment_it_is_warm() -> None:
    found = intercept((("base",),), {"base": [warm("base", 10)]}, 10, WARM_UPS)
    assert found.result is Result.HIT


def test_a_start_under_way_shortens_the_wait() -> None:
    found = intercept((("base",),), {"base": [warm("base", 15_000)]}, 10_000, WARM_UPS)
    assert (found.result, found.cold_ms, found.saved_ms) == (Result.MISS, 5_000, 15_000)


def test_a_released_instance_served_what_came_before_its_end() -> None:
    gone = replace(warm("base"), state=InstanceState.GONE, gone_ms=500)
    assert intercept((("base",),), {"base": [gone]}, 499, WARM_UPS).result is Result.HIT
    assert intercept((("base",),), {"base": [gone]}, 500, WARM_UPS).result is Result.MISS


def test_a_logged_request_is_judged_by_the_instances_of_its_pool() -> None:
    other = replace(warm("upscale"), pool="other")
    outcome = judge(request(), warm("base"), warm("adapter"), other)
    assert (outcome.result, outcome.route, outcome.status) == (Result.PARTIAL, Route.OBSERVED, 0)
    assert (outcome.cold_ms, outcome.saved_ms) == (3_000, 20_000)


def test_the_longest_warm_instance_is_named() -> None:
    outcome = judge(request(), warm("base", 20, name="young"), warm("base", 10, name="old"))
    assert outcome.parts[0].instance_id == "old"


def test_without_a_catalogue_a_service_is_its_own_cold_part() -> None:
    outcome = judge(request(service="anything"), catalog=Catalog())
    assert [(p.service, p.warm) for p in outcome.parts] == [("anything", False)]
    assert outcome.result is Result.MISS


def test_each_constituent_that_is_found_cold_is_to_be_started() -> None:
    assert found_cold(request()) == ["base", "adapter", "upscale"]
    assert found_cold(request(), warm("adapter")) == ["base", "upscale"]


def test_a_hit_starts_nothing() -> None:
    assert found_cold(request(), *map(warm, WARM_UPS)) == []


def test_a_constituent_that_is_starting_is_not_to_be_started_again() -> None:
    starting = warm("base", since_ms=15_000)
    assert found_cold(request(), starting) == ["adapter", "upscale"]


def test_a_constituent_whose_instance_has_gone_is_to_be_started() -> None:
    gone = replace(warm("base"), state=InstanceState.GONE, gone_ms=500)
    assert found_cold(request(), gone) == ["base", "adapter", "upscale"]


def test_an_instance_of_another_pool_starts_nothing_less() -> None:
    other = replace(warm("base"), pool="other")
    assert found_cold(request(), other) == ["base", "adapter", "upscale"]


def test_a_cold_start_names_its_request_pool_and_time() -> None:
    _, start, *_ = made_of(replace(request(), pool="p"))
    assert start == ColdStart(request_id="r1", pool="p", service="base", at_ms=1_000)


def busy(service: str, until_ms: int, *, name: str = "") -> Instance:
    return replace(warm(service, name=name), busy_until_ms=until_ms)


def test_an_instance_that_is_busy_serves_no_other_request() -> None:
    found = intercept((("base",),), {"base": [busy("base", 12_000)]}, 10_000, WARM_UPS)
    assert (found.result, found.cold_ms) == (Result.MISS, 2_000)
    found = intercept((("base",),), {"base": [busy("base", 12_000)]}, 12_000, WARM_UPS)
    assert found.result is Result.HIT


def test_of_a_busy_and_a_free_instance_the_free_one_serves() -> None:
    outcome = judge(request(), busy("base", 5_000, name="old"), warm("base", 20, name="young"))
    assert outcome.parts[0].instance_id == "young"


def test_a_start_that_is_sooner_than_a_busy_instance_is_waited_for() -> None:
    found = intercept((("upscale",),), {"upscale": [busy("upscale", 60_000)]}, 10_000, WARM_UPS)
    assert found.cold_ms == 3_000


def test_where_the_pool_has_no_room_the_busy_instance_is_waited_for() -> None:
    catalog = Catalog.of(
        [
            Constituent(service="base", needs=Resources(cpu=2), warm_up_ms=20_000, price=1.0),
            Composite(service="plain", steps=(("base",),)),
            Pool(pool="default", capacity=Resources(cpu=3)),
        ]
    )
    served = replace(request(service="plain"), serve_ms=9_000)
    outcome = judge(served, busy("base", 60_000), catalog=catalog)
    assert (outcome.cold_ms, outcome.saved_ms) == (59_000, 0)
    roomy = replace(catalog, pools={"default": Pool(pool="default", capacity=Resources(cpu=4))})
    assert judge(served, busy("base", 60_000), catalog=roomy).cold_ms == 20_000


def test_what_others_leave_idle_is_room_for_a_request() -> None:
    small = Resources(cpu=2)
    catalog = Catalog.of(
        [
            Constituent(service="base", needs=small, warm_up_ms=20_000, price=1.0),
            Constituent(service="other", needs=small, warm_up_ms=20_000, price=1.0),
            Composite(service="plain", steps=(("base",),)),
            Pool(pool="default", capacity=Resources(cpu=4)),
        ]
    )
    served = replace(request(service="plain"), serve_ms=9_000)
    others = busy("base", 60_000), warm("other")
    assert judge(served, *others, catalog=catalog).cold_ms == 20_000
    used = others[0], replace(others[1], serves_until_ms=950)
    assert judge(served, *used, catalog=catalog).cold_ms == 59_000


def test_steps_share_the_time_that_the_log_says() -> None:
    served = replace(request(), serve_ms=9_000)
    assert [part.serve_ms for part in judge(served, warm("base")).parts] == [4_500, 4_500, 4_500]


def test_what_serves_a_request_is_told_for_how_long() -> None:
    served = replace(request(service="plain"), serve_ms=9_000)
    assert made_of(served, warm("base"))[1:] == (
        LoggedUse(
            request_id="r1",
            pool="default",
            service="base",
            instance_id="base-1",
            at_ms=1_000,
            serve_ms=9_000,
        ),
    )


def test_a_request_that_finds_an_instance_starting_or_busy_is_told_as_well() -> None:
    served = replace(request(service="plain"), serve_ms=9_000)
    for instance in (warm("base", since_ms=15_000), busy("base", 60_000)):
        _, start = made_of(served, instance)
        assert isinstance(start, ColdStart)
        assert start.serve_ms == 9_000


def test_what_serves_a_request_that_finds_something_cold_is_told_before_that() -> None:
    for serve_ms in (0, 9_000):
        _, *told = made_of(replace(request(), serve_ms=serve_ms), warm("upscale"))
        assert [type(one) for one in told] == [LoggedUse, ColdStart, ColdStart]


def test_of_a_hit_in_a_log_without_durations_nothing_need_be_told() -> None:
    assert len(made_of(request(service="plain"), warm("base"))) == 1


def test_a_request_served_by_the_gateway_has_its_outcome_already() -> None:
    served = replace(request(), source=Source.GATEWAY)
    assert list(Interceptor().step(served, {}, StepContext())) == []


def test_a_watermark_is_no_request() -> None:
    mark = Watermark(log="4f0c", source="log.csv", at_ms=1_000, number=1)
    assert list(Interceptor().step(mark, {}, StepContext())) == []


def test_a_request_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(RecordUnusable, match="negative"):
        judge(request(at_ms=-1))
