from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import command

from streams.records import Action, Command, Instance, InstanceState, Record, Utilisation
from streams.records.catalog import Catalog, Constituent, Pool, Resources
from streams.stages.base import StepContext
from streams.stages.planned_provisioner import PlannedPool, PlannedProvisioner

CATALOG = Catalog.of(
    [
        Constituent(service="base", needs=Resources(cpu=2), warm_up_ms=500, price=1.0),
        Constituent(service="adapter", needs=Resources(cpu=1), warm_up_ms=0, price=1.0),
        Pool(pool="p", capacity=Resources(cpu=5)),
    ]
)


def carry_out(commands: list[Command], state: dict[str, PlannedPool] | None = None) -> list[Record]:
    rows = {} if state is None else state
    stage, context = PlannedProvisioner(), StepContext(catalog=CATALOG)
    return [made for c in commands for made in stage.step(c, rows, context)]


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


def test_state_survives_bytes() -> None:
    state: dict[str, PlannedPool] = {}
    carry_out([command("c1"), command("c2", service="adapter")], state)
    stage = PlannedProvisioner()
    assert stage.decode(stage.encode(state["p"])) == state["p"]
    with pytest.raises(ValueError, match="version"):
        stage.decode(b"\x07[]")
