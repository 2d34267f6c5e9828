from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import command

from streams.records import (
    Action,
    ColdStart,
    Instance,
    InstanceState,
    LoggedUse,
    Record,
    Utilisation,
)
from streams.records.catalog import Catalog, Constituent, Pool, Resources
from streams.stages.base import RecordUnusable, StepContext
from streams.stages.planned_pool import (
    PlannedInstance,
    PlannedPool,
    planned_form,
    planned_of,
)
from streams.stages.planned_provisioner import PlannedProvisioner
from streams.stages.row_encoding import to_row

CATALOG = Catalog.of(
    [
        Constituent(service="base", needs=Resources(cpu=2), warm_up_ms=500, price=1.0),
        Constituent(service="adapter", needs=Resources(cpu=1), warm_up_ms=0, price=1.0),
        Constituent(service="red", needs=Resources(cpu=1), warm_up_ms=50, price=1.0, base="base"),
        Constituent(
            service="shared", needs=Resources(cpu=1), warm_up_ms=0, price=1.0, concurrency=2
        ),
        Pool(pool="p", capacity=Resources(cpu=5)),
    ]
)


def cold_start(
    service: str, at_ms: int = 1_000, *, request: str = "r1", serve_ms: int = 0
) -> ColdStart:
    return ColdStart(request_id=request, pool="p", service=service, at_ms=at_ms, serve_ms=serve_ms)


def use(name: str, at_ms: int, serve_ms: int, *, service: str = "adapter") -> LoggedUse:
    return LoggedUse(
        request_id="r1",
        pool="p",
        service=service,
        instance_id=name,
        at_ms=at_ms,
        serve_ms=serve_ms,
    )


def carry_out(
    events: Sequence[Record], state: dict[str, PlannedPool] | None = None
) -> list[Record]:
    rows = {} if state is None else state
    stage, context = PlannedProvisioner(), StepContext(catalog=CATALOG)
    return [made for e in events for made in stage.step(e, rows, context)]


def instances(records: list[Record]) -> list[Instance]:
    return [r for r in records if isinstance(r, Instance)]


def used(records: list[Record]) -> float:
    return [r for r in records if isinstance(r, Utilisation)][-1].used.cpu


def test_an_instance_is_warm_its_warm_up_after_the_command() -> None:
    (instance,) = instances(carry_out([command("c1")]))
    assert (instance.instance_id, instance.command_id) == ("c1/1", "c1")
    assert (instance.started_ms, instance.warm_since_ms) == (1_000, 1_500)
    assert not instance.warm_at(1_499)
    assert instance.warm_at(1_500)


def test_a_request_of_the_time_of_a_command_does_not_depend_on_it() -> None:
    started, released = instances(
        carry_out(
            [
                command("c1", service="adapter"),
                command("c2", Action.RELEASE, "adapter", issued_ms=3_000),
            ]
        )
    )
    assert not started.warm_at(1_000)
    assert started.warm_at(3_000)
    assert released.warm_at(3_000)
    assert not released.warm_at(3_001)


def test_utilisation_follows_every_command() -> None:
    assert used(carry_out([command("c1"), command("c2")])) == 4.0
    assert used(carry_out([command("c1"), command("c2", Action.RELEASE)])) == 0.0


def test_the_instance_that_became_warm_last_is_released() -> None:
    started = [command("c1"), command("c2", issued_ms=1_200)]
    gone = instances(carry_out([*started, command("c3", Action.RELEASE, issued_ms=1_300)]))[-1]
    assert (gone.instance_id, gone.state) == ("c2/1", InstanceState.GONE)


def test_the_end_of_what_is_not_warm_yet_replaces_its_start_in_the_tables() -> None:
    released = command("c2", Action.RELEASE, issued_ms=1_200)
    started, gone = instances(carry_out([command("c1"), released]))
    assert gone.gone_ms == 1_201 < started.changed_ms <= gone.changed_ms
    assert not gone.warm_at(1_600)


def test_a_command_done_is_not_done_again() -> None:
    assert carry_out([command("c1"), command("c1")]) == carry_out([command("c1")])


def test_an_expired_command_is_refused() -> None:
    state: dict[str, PlannedPool] = {}
    carry_out([command("c1", issued_ms=50_000, expires_ms=60_000)], state)
    assert carry_out([command("late")], state) == []


def test_a_queued_want_and_an_unknown_service_start_nothing() -> None:
    assert carry_out([command("c1", Action.QUEUE)]) == []
    assert instances(carry_out([command("c1", service="unknown")])) == []


@given(st.lists(st.tuples(st.sampled_from(["base", "adapter"]), st.integers(1, 4), st.booleans())))
def test_capacity_is_never_exceeded(commands: list[tuple[str, int, bool]]) -> None:
    made = carry_out(
        [
            command(f"c{i}", Action.PROVISION if start else Action.RELEASE, service, count=count)
            for i, (service, count, start) in enumerate(commands)
        ]
    )
    assert all(r.used.fits(r.capacity) for r in made if isinstance(r, Utilisation))


def test_what_a_request_found_cold_is_started_for_it() -> None:
    (instance,) = instances(carry_out([cold_start("base")]))
    assert (instance.instance_id, instance.service) == ("standard/r1/base/1", "base")
    assert (instance.started_ms, instance.warm_since_ms) == (1_000, 1_500)


def test_an_instance_names_what_it_was_started_for_as_a_provisioner_does() -> None:
    made = carry_out([cold_start("base"), command("c1", service="adapter")])
    causes = {i.instance_id: i.command_id for i in instances(made)}
    assert causes == {"standard/r1/base/1": "standard/r1", "c1/1": "c1"}


def test_what_requests_found_cold_is_started_once() -> None:
    starts = [cold_start("base"), cold_start("base"), cold_start("base", request="r2")]
    assert carry_out(starts) == carry_out(starts[:1])


def test_what_is_there_by_now_is_not_started_on_request() -> None:
    assert carry_out([command("c1"), cold_start("base")]) == carry_out([command("c1")])


def test_what_was_released_is_started_on_request_again() -> None:
    ended = command("c1", Action.RELEASE, issued_ms=2_000)
    made = carry_out([cold_start("base"), ended, cold_start("base", 3_000, request="r2")])
    assert instances(made)[-1].instance_id == "standard/r2/base/1"


def test_what_is_started_on_request_can_be_released() -> None:
    made = carry_out([cold_start("base"), command("c1", Action.RELEASE, issued_ms=2_000)])
    assert instances(made)[-1].state is InstanceState.GONE
    assert used(made) == 0.0


def test_a_start_on_request_stays_within_the_capacity() -> None:
    made = carry_out([command("c1", count=2), command("c2", service="adapter"), cold_start("red")])
    assert [i.service for i in instances(made)] == ["base", "base", "adapter"]
    assert used(made) == 5.0


def test_what_others_leave_idle_gives_way_to_a_request_the_longest_unused_first() -> None:
    state: dict[str, PlannedPool] = {}
    carry_out([command("c1"), command("c2"), command("c3", service="adapter")], state)
    made = carry_out([cold_start("shared", 4_000)], state)
    gone, started = instances(made)
    assert (gone.service, gone.gone_ms) == ("adapter", 4_001)  # warm before the others
    assert gone.reason == "gave way to a request"
    assert started.service == "shared"


def test_what_serves_or_has_just_served_does_not_give_way() -> None:
    state: dict[str, PlannedPool] = {}
    carry_out([command(f"c{n}", service="adapter") for n in range(5)], state)
    names = list(state["p"].live)
    carry_out([use(name, 3_000, 950 + n * 100) for n, name in enumerate(names)], state)
    made = carry_out([cold_start("shared", 4_000)], state)
    assert [i.service for i in instances(made)] == []
    (gone, _) = instances(carry_out([cold_start("shared", 4_050, request="r2")], state))
    assert gone.instance_id == names[0]


def test_what_serves_a_request_for_no_time_does_not_give_way_to_its_other_parts() -> None:
    state: dict[str, PlannedPool] = {}
    carry_out([command(f"c{n}", service="adapter") for n in range(5)], state)
    first, second, *_ = state["p"].live
    carry_out([use(first, 4_000, 0)], state)
    state = {name: planned_of(planned_form(pool)) for name, pool in state.items()}

    (gone, _) = instances(carry_out([cold_start("shared", 4_000)], state))

    assert gone.instance_id == second
    assert state["p"].live[first].uses == 0


def test_a_base_does_not_give_way_to_what_starts_from_it() -> None:
    state: dict[str, PlannedPool] = {}
    carry_out([command("c1"), *(command(f"a{n}", service="adapter") for n in range(3))], state)
    gone, red = instances(carry_out([cold_start("red", 4_000)], state))
    assert (gone.service, red.service) == ("adapter", "red")


def test_a_start_on_request_brings_its_base_first() -> None:
    base, red = instances(carry_out([cold_start("red")]))
    assert [base.service, red.service] == ["base", "red"]
    assert (base.warm_since_ms, red.warm_since_ms) == (1_500, 1_550)


def test_a_start_on_request_finds_the_base_that_the_same_request_started() -> None:
    made = carry_out([cold_start("base"), cold_start("red")])
    assert [i.service for i in instances(made)] == ["base", "red"]


def test_a_start_on_request_that_comes_too_late_is_not_made() -> None:
    state: dict[str, PlannedPool] = {}
    carry_out([command("c1", service="adapter", issued_ms=11_000, expires_ms=60_000)], state)
    assert carry_out([cold_start("base")], state) == []


def test_a_cold_start_in_an_unknown_pool_is_left() -> None:
    unknown = ColdStart(request_id="r", pool="elsewhere", service="base", at_ms=1_000)
    assert carry_out([unknown]) == []


def test_a_cold_start_at_an_impossible_time_is_refused() -> None:
    with pytest.raises(RecordUnusable, match="at_ms"):
        carry_out([cold_start("base", -1)])


def free_from(records: list[Record]) -> list[tuple[str, int]]:
    """Each instance, and from when it is free, as told last."""
    return [
        (i.instance_id, i.free_from_ms or 0)
        for i in {i.instance_id: i for i in instances(records)}.values()
    ]


def test_an_instance_is_busy_for_as_long_as_the_log_says() -> None:
    made = carry_out([command("c1", service="adapter"), use("c1/1", 2_000, 700)])
    assert free_from(made) == [("c1/1", 2_700)]
    assert (instances(made)[-1].uses, instances(made)[-1].busy_ms) == (1, 700)


def test_an_instance_that_serves_two_at_once_is_busy_with_the_second_until_the_first_ends() -> None:
    started = command("c1", service="shared")
    uses = [use("c1/1", 2_000, 700, service="shared"), use("c1/1", 2_100, 100, service="shared")]
    assert free_from(carry_out([started, uses[0]])) == [("c1/1", 1_001)]
    assert free_from(carry_out([started, *uses])) == [("c1/1", 2_200)]


def test_an_instance_serves_fewer_at_once_when_the_catalogue_says_so() -> None:
    instance = PlannedInstance("a", "c", 0, 10)
    for end_ms in (100, 200, 300):
        instance = instance.serving(20, end_ms - 20, 3)
    assert instance.busy_until_ms == 100
    fewer = instance.serving(50, 30, 1)
    assert (fewer.free_from_ms, fewer.serves_until_ms) == (300, 300)


def test_what_serves_one_of_several_at_once_is_not_idle() -> None:
    started = command("c1", service="shared")
    *_, instance = instances(carry_out([started, use("c1/1", 2_000, 700, service="shared")]))
    assert (instance.busy_until_ms, instance.serves_until_ms) == (0, 2_700)
    release = command("c2", Action.RELEASE, "shared", issued_ms=2_100)
    used_by_one: list[Record] = [started, use("c1/1", 2_000, 700, service="shared"), release]
    assert all(i.state is InstanceState.WARM for i in instances(carry_out(used_by_one)))


def test_what_a_request_has_started_serves_it_first() -> None:
    made = carry_out([cold_start("base", serve_ms=700)])
    assert free_from(made) == [("standard/r1/base/1", 1_500 + 700)]


def test_a_request_that_finds_all_busy_has_another_instance_started() -> None:
    requests = [
        cold_start("base", serve_ms=700),
        cold_start("base", 1_100, request="r2", serve_ms=700),
    ]
    assert free_from(carry_out(requests)) == [
        ("standard/r1/base/1", 2_200),
        ("standard/r2/base/1", 1_600 + 700),
    ]


def test_a_request_is_served_by_what_is_free_first_though_another_was_started_for_it() -> None:
    requests: list[Record] = [
        command("c1"),
        use("c1/1", 2_000, 100, service="base"),
        cold_start("base", 2_050, request="r2", serve_ms=300),
    ]
    assert free_from(carry_out(requests)) == [("c1/1", 2_400), ("standard/r2/base/1", 2_550)]


def test_what_is_starting_and_free_is_not_started_again() -> None:
    requests: list[Record] = [command("c1"), cold_start("base", 1_200, serve_ms=300)]
    assert free_from(carry_out(requests)) == [("c1/1", 1_800)]


def test_where_another_has_no_room_a_request_waits_for_one_that_is_busy() -> None:
    cold = [cold_start("base", 1_200, request=name, serve_ms=300) for name in ("r1", "r2", "r3")]
    assert free_from(carry_out([command("c1", count=2), *cold])) == [
        ("c1/1", 2_100),
        ("c1/2", 1_800),
    ]


def test_a_busy_instance_is_not_released() -> None:
    started: list[Record] = [
        command("c1", service="adapter", count=2),
        use("c1/2", 2_000, 5_000),
    ]
    release = command("c2", Action.RELEASE, "adapter", count=2, issued_ms=3_000)
    made = instances(carry_out([*started, release]))
    assert [i.instance_id for i in made if i.state is InstanceState.GONE] == ["c1/1"]
    late = command("c2", Action.RELEASE, "adapter", issued_ms=7_000)
    made = instances(carry_out([*started, late]))
    assert [i.instance_id for i in made if i.state is InstanceState.GONE] == ["c1/2"]


def test_a_use_of_what_has_gone_changes_nothing() -> None:
    state: dict[str, PlannedPool] = {}
    assert carry_out([use("c1/1", 2_000, 700)], state) == []
    assert state == {}


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 50), st.integers(1, 100)), max_size=20))
def test_an_instance_never_serves_more_at_once_than_it_may(
    concurrency: int, requests: list[tuple[int, int]]
) -> None:
    instance, at_ms, served = PlannedInstance("a", "c", 0, 10), 0, list[tuple[int, int]]()
    for later_ms, serve_ms in requests:
        at_ms += later_ms
        begin_ms = max(at_ms, instance.free_from_ms)
        instance = instance.serving(at_ms, serve_ms, concurrency)
        served.append((begin_ms, begin_ms + serve_ms))
    for begin_ms, _ in served:
        assert sum(begin <= begin_ms < end for begin, end in served) <= concurrency


@pytest.mark.parametrize("serve_ms", [-1, 2**53])
def test_an_impossible_duration_is_refused(serve_ms: int) -> None:
    for event in (cold_start("base", serve_ms=serve_ms), use("c1/1", 2_000, serve_ms)):
        with pytest.raises(RecordUnusable, match="serve_ms"):
            carry_out([event])


def test_time_alone_starts_nothing() -> None:
    state: dict[str, PlannedPool] = {}
    carry_out([cold_start("base")], state)
    assert PlannedProvisioner().due(state) is None


def test_state_survives_bytes() -> None:
    state: dict[str, PlannedPool] = {}
    carry_out([command("c1"), command("c2", service="adapter"), use("c2/1", 2_000, 700)], state)
    stage = PlannedProvisioner()
    assert stage.decode(stage.encode(state["p"])) == state["p"]
    with pytest.raises(ValueError, match="version"):
        stage.decode(b"\x07[]")


def test_state_of_before_there_were_durations_is_read() -> None:
    row = PlannedProvisioner().decode(to_row(1, [5, {"c1/1": ["base", "c1", 1, 2]}, {}]))
    assert row == PlannedPool(5, {"c1/1": PlannedInstance("base", "c1", 1, 2)})
