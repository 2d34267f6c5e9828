from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from streams.adapters.avro import codec
from streams.allocator.stage import AllocatorStage
from streams.engine.view_records import ViewRecordUnusable, view_decoder
from streams.records import (
    Action,
    ColdStart,
    Command,
    Demand,
    Instance,
    InstanceState,
    MeasuredWarmUp,
    Outcome,
    Part,
    Record,
    Request,
    Result,
    Route,
    ServiceDemand,
    Utilisation,
)
from streams.records.catalog import Catalog, Composite, Constituent, Pool, Resources, Tier
from streams.records.control import Control, Pin
from streams.stages import admission
from streams.stages.base import RecordUnusable, StepContext
from streams.stages.planned_provisioner import PlannedProvisioner

NOW = 1_700_000_000_000
DAY_MS = 86_400_000
PART = Constituent(service="part", needs=Resources(cpu=1.0), warm_up_ms=1_000, price=0.1)
CATALOG = Catalog.of(
    [
        PART,
        Composite(service="draw", steps=(("part",),)),
        Tier(tier="gold", weight=1.0, sla_ms=100),
        Pool(pool="p", capacity=Resources(cpu=20_000.0)),
    ]
)
LIVE = StepContext(0, NOW, CATALOG)
DEMAND = Demand(
    pool="p",
    partition=0,
    at_ms=NOW,
    horizon_ms=60_000,
    services=(ServiceDemand("draw", "gold", 9.0, 5),),
    warm_ups=(MeasuredWarmUp(service="part", count=1, total_ms=1_000, squares_ms2=1e6),),
    expires_ms=NOW + 600_000,
)
COMMAND = Command(
    command_id="c-1",
    pool="p",
    action=Action.PROVISION,
    service="part",
    count=1,
    value=1.0,
    cost=0.1,
    priority=0.0,
    issued_ms=NOW,
    expires_ms=NOW + 60_000,
    reason="it pays",
)
UTILISATION = Utilisation(pool="p", at_ms=NOW, capacity=Resources(), used=Resources())
INSTANCE = Instance(
    instance_id="i",
    service="part",
    pool="p",
    state=InstanceState.WARM,
    endpoint="",
    command_id="c-1",
    started_ms=NOW,
    changed_ms=NOW,
)
OUTCOME = Outcome(
    request_id="r",
    user="u",
    tier="gold",
    pool="p",
    service="draw",
    at_ms=NOW,
    result=Result.MISS,
    route=Route.STANDARD,
    status=200,
    latency_ms=1.0,
    cold_ms=1,
    saved_ms=0,
    parts=(Part(service="part", warm=False),),
)


# --------------------------------------------------------------------- time

AHEAD: list[tuple[Callable[[Any, StepContext], object], Record, str]] = [
    (admission.admit_demand, DEMAND, "at_ms"),
    (admission.admit_utilisation, UTILISATION, "at_ms"),
    (admission.admit_command, COMMAND, "issued_ms"),
]


@pytest.mark.parametrize(("admit", "record", "name"), AHEAD)
def test_what_is_from_well_after_it_was_produced_is_refused(
    admit: Callable[[Any, StepContext], object], record: Any, name: str
) -> None:
    admit(replace(record, **{name: NOW + 5_000}), LIVE)
    admit(replace(record, **{name: NOW + DAY_MS}), StepContext(catalog=CATALOG))  # in a replay
    with pytest.raises(RecordUnusable, match=f"{name} .* ms after the record was produced"):
        admit(replace(record, **{name: NOW + DAY_MS}), LIVE)


def test_a_demand_a_day_ahead_does_not_move_the_time_of_its_pool() -> None:
    stage, state = AllocatorStage(), dict[str, Any]()
    list(stage.step(DEMAND, state, LIVE))
    with pytest.raises(RecordUnusable):
        stage.step(replace(DEMAND, at_ms=NOW + DAY_MS), state, LIVE)
    later = StepContext(0, NOW + 1_000, CATALOG)
    list(stage.step(replace(DEMAND, at_ms=NOW + 1_000), state, later))
    assert state["p/p"].now_ms == NOW + 1_000


def test_a_cold_start_of_a_user_whose_clock_is_ahead_is_made_now() -> None:
    stage, state = PlannedProvisioner(), dict[str, Any]()
    cold = ColdStart(request_id="r", pool="p", service="part", at_ms=NOW + DAY_MS)
    list(stage.step(cold, state, LIVE))
    assert state["p"].now_ms == NOW


# --------------------------------------------------------------------- bounds


def test_demand_for_what_the_catalogue_does_not_have_is_left_out() -> None:
    unknown = ServiceDemand("x" * 256, "gold", 1.0, 1)
    measured = MeasuredWarmUp(service="who", count=1, total_ms=1, squares_ms2=1.0)
    more = replace(
        DEMAND,
        services=(unknown, *DEMAND.services),
        warm_ups=(measured, *DEMAND.warm_ups),
    )
    assert admission.admit_demand(more, LIVE) == DEMAND


@pytest.mark.parametrize(
    ("admit", "record"),
    [
        (admission.admit_outcome, replace(OUTCOME, parts=OUTCOME.parts * 10_000)),
        (admission.admit_outcome, replace(OUTCOME, user="u" * 257)),
        (admission.admit_outcome, replace(OUTCOME, user="")),
        (admission.admit_control, Control(pool="p", pins=(Pin(service="part"),) * 10_000)),
        (admission.admit_control, Control(pool="p", pins=(Pin(service="part", days=(8,)),))),
        (admission.admit_control, Control(pool="p", reason="x" * 10_000)),
        (admission.admit_instance, replace(INSTANCE, warm_since_ms=2**63 - 1)),
        (admission.admit_instance, replace(INSTANCE, busy_ms=-1)),
        (admission.admit_instance, replace(INSTANCE, endpoint="x" * 10_000)),
    ],
)
def test_lists_texts_and_numbers_out_of_all_bounds_are_refused(
    admit: Callable[[Any], None], record: Record
) -> None:
    with pytest.raises(RecordUnusable):
        admit(record)


def test_a_command_of_ten_thousand_instances_takes_less_than_a_second() -> None:
    began, state = time.process_time(), dict[str, Any]()
    made = list(PlannedProvisioner().step(replace(COMMAND, count=10_000), state, LIVE))
    assert len(made) == 10_001
    assert time.process_time() - began < 1.0


# --------------------------------------------------------------------- views


@pytest.mark.parametrize(
    "record",
    [
        replace(INSTANCE, started_ms=-1),
        Request(request_id="r", user="u", service="part", at_ms=NOW),
        PART,
    ],
)
def test_what_no_step_can_use_has_no_place_in_a_view(record: Record) -> None:
    """A request has a service and a pool too: it failed every step that looked at instances."""
    read = view_decoder("instances", codec.decode)
    assert read(codec.encode(INSTANCE)) == INSTANCE
    with pytest.raises(ViewRecordUnusable):
        read(codec.encode(record))


@pytest.mark.parametrize(
    "bad",
    [
        replace(PART, price=float("nan")),
        replace(PART, needs=Resources(cpu=float("inf"))),
        replace(PART, warm_up_ms=-1),
        replace(PART, warm_up_ms=2**63 - 1),
        Composite(service="c", steps=(("part",),) * 10_000),
        Tier(tier="t", weight=-1.0, sla_ms=1),
        Tier(tier="t", weight=1.0, sla_ms=1, priority=-(2**63)),
        Tier(tier="", weight=1.0, sla_ms=1),
        Pool(pool="q", capacity=Resources(memory=float("nan"))),
        Pool(pool="q", capacity=Resources(), budget=float("nan")),
    ],
)
def test_an_entry_that_no_plan_can_be_made_with_is_left_out_of_the_catalogue(bad: Any) -> None:
    other = Constituent(service="other", needs=Resources(), warm_up_ms=1, price=0.0)
    assert list(Catalog.of([other, bad])) == [other]


def based(name: str, base: str) -> Constituent:
    return replace(PART, service=name, base=base)


def test_a_circle_of_bases_is_cut() -> None:
    found = Catalog.of([based("a", "b"), based("b", "c"), based("c", "a"), based("self", "self")])
    assert not any(entry.base for entry in found.constituents.values())
    context = StepContext(0, NOW, replace(CATALOG, constituents=found.constituents))
    command = replace(COMMAND, service="a")
    assert len(list(PlannedProvisioner().step(command, {}, context))) == 2


def test_layers_stay_one_deep() -> None:
    found = Catalog.of([based("adapter", "model"), replace(PART, service="model")])
    assert found.constituents["adapter"].base == "model"


def test_an_instance_that_serves_a_hundred_million_at_once_takes_no_longer_to_decide_on() -> None:
    wide = replace(PART, concurrency=10**8)
    catalog = Catalog.of([*CATALOG, wide])
    began = time.process_time()
    list(AllocatorStage().step(DEMAND, {}, StepContext(0, NOW, catalog)))
    assert time.process_time() - began < 1.0
