"""What a provisioner tells Prometheus of its instances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from streams.adapters.metrics import table
from streams.provisioners.core.figures import InstanceFigures, failure_of, tell_room, what_was_done
from streams.records import Action, Command, Instance, InstanceState, Utilisation
from streams.records.catalog import Catalog, Constituent, Resources

BASE = Constituent(service="paint", needs=Resources(), warm_up_ms=1, price=3.6)
STARTED = Instance(
    instance_id="i1", service="paint", pool="p", state=InstanceState.STARTING, endpoint="",
    command_id="c1", started_ms=1_000, changed_ms=1_000,
)  # fmt: skip
WARM = replace(STARTED, state=InstanceState.WARM, changed_ms=5_000, warm_since_ms=5_000)
COMMAND = Command(
    command_id="c1", pool="p", action=Action.PROVISION, service="paint", count=1, value=1.0,
    cost=0.5, priority=0.0, issued_ms=500, expires_ms=9_000, reason="",
)  # fmt: skip


def figures(*instances: Instance) -> InstanceFigures:
    return InstanceFigures(lambda: instances, lambda: Catalog.of([BASE]))


def sum_of(metric: Any, *labels: str) -> float:
    child = metric.labels(*labels) if labels else metric
    found: float = (child._sum if hasattr(child, "_sum") else child._value).get()
    return found


def test_a_start_is_counted_once_with_how_long_it_took() -> None:
    one = figures()
    before = sum_of(table.STARTS, "paint", "command"), sum_of(table.START_SECONDS, "paint")
    warm = sum_of(table.EVENT_TO_WARM_SECONDS)
    one.commanded(COMMAND, "starts 1 of 1 paint")
    for record in (STARTED, WARM, WARM):  # a record may be published again
        one.changed(record)

    assert sum_of(table.STARTS, "paint", "command") == before[0] + 1
    assert sum_of(table.START_SECONDS, "paint") == before[1] + 4
    assert sum_of(table.EVENT_TO_WARM_SECONDS) == warm + 4.5


def test_a_start_that_fails_is_counted_by_its_cause() -> None:
    before = sum_of(table.START_FAILURES, "paint", "timeout")
    reason = "crashed: did not answer /healthz within 60 s"
    figures().changed(replace(STARTED, state=InstanceState.GONE, reason=reason))

    assert sum_of(table.START_FAILURES, "paint", "timeout") == before + 1


def test_an_instance_that_ends_by_itself_has_crashed_and_one_that_is_ended_has_not() -> None:
    before = sum_of(table.CRASHES, "paint")
    for name, reason in (("i2", "crashed: exit code 1"), ("i3", "released: too dear")):
        gone = replace(WARM, instance_id=name, state=InstanceState.GONE, reason=reason)
        figures().changed(gone)

    assert sum_of(table.CRASHES, "paint") == before + 1


def test_time_costs_what_the_catalogue_says_and_is_kept_by_state() -> None:
    one = figures(WARM, replace(WARM, instance_id="i2"), replace(STARTED, instance_id="i3"))
    one.pass_time(1_000)
    before = sum_of(table.COST, "paint"), sum_of(table.INSTANCE_SECONDS, "paint", "warm")
    one.pass_time(11_000)

    assert sum_of(table.COST, "paint") == pytest.approx(before[0] + 2 * 10 * 3.6 / 3_600)
    assert sum_of(table.INSTANCE_SECONDS, "paint", "warm") == pytest.approx(before[1] + 20)


def test_time_spent_serving_is_that_of_the_records() -> None:
    one, before = figures(), sum_of(table.SERVING_SECONDS, "paint")
    for busy_ms in (700, 700, 1_500):
        one.changed(replace(WARM, state=InstanceState.BUSY, busy_ms=busy_ms))

    assert sum_of(table.SERVING_SECONDS, "paint") == pytest.approx(before + 1.5)


def test_time_spent_serving_is_counted_once_though_the_end_is_published_again() -> None:
    one, before = figures(), sum_of(table.SERVING_SECONDS, "paint")
    gone = replace(WARM, instance_id="i9", state=InstanceState.GONE, busy_ms=5_000)
    for _ in range(3):
        one.changed(gone)

    assert sum_of(table.SERVING_SECONDS, "paint") == pytest.approx(before + 5)


def test_what_an_instance_served_for_an_earlier_provisioner_was_counted_by_that_one() -> None:
    one, before = figures(), sum_of(table.SERVING_SECONDS, "paint")
    known = replace(WARM, instance_id="i8", busy_ms=5_000)
    one.begin([known])
    one.changed(replace(known, busy_ms=6_000))
    one.changed(replace(known, state=InstanceState.GONE, busy_ms=6_000))

    assert sum_of(table.SERVING_SECONDS, "paint") == pytest.approx(before + 1)


def test_a_state_that_no_instance_is_in_any_more_is_0() -> None:
    there = [WARM]
    one = InstanceFigures(lambda: there, Catalog)
    one.tell()
    assert sum_of(table.INSTANCES, "paint", "warm") == 1
    there.clear()
    one.tell()

    assert sum_of(table.INSTANCES, "paint", "warm") == 0


def test_room_is_told_in_base_units() -> None:
    room = Resources(cpu=1_500, memory=2, bandwidth=8)
    tell_room(Utilisation(pool="p", at_ms=1, capacity=room, used=Resources()))

    told = [sum_of(m) for m in (table.CAPACITY_CPU, table.CAPACITY_MEMORY)]
    assert told == [1.5, 2 * 1024 * 1024]
    assert sum_of(table.CAPACITY_BANDWIDTH) == 1_000_000


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("crashed: its pod was not ready in time", "timeout"),
        ("crashed: its limits cannot be set: no space", "limits"),
        ("crashed: its command is not allowed here: see …", "not_allowed"),
        ("crashed: python9 cannot be started: No such file", "not_startable"),
        ("crashed: exit code 3", "exited"),
    ],
)
def test_a_cause_is_one_of_few(reason: str, cause: str) -> None:
    assert failure_of(reason) == cause
    assert cause in table.FAILURES


@pytest.mark.parametrize(
    ("result", "did"),
    [
        ("starts 0 of 2 a", "no_room"),
        ("starts 1 of 2 a", "started"),
        ("keeps a, which runs", "kept"),
        ("ends 1 of 1 a", "ended"),
        ("expired 5 ms ago", "expired"),
        ("is dropped: the last start of a failed", "backed_off"),
        ("was carried out before", "repeated"),
        ("stays queued at the allocator", "ignored"),
    ],
)
def test_what_was_done_is_one_of_few(result: str, did: str) -> None:
    assert what_was_done(result) == did
    assert did in table.DID
