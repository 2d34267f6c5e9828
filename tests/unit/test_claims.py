from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from services import constituent

from streams.provisioners.core.interface import InstanceUse
from streams.records import Instance, InstanceState
from streams.records.catalog import Catalog
from streams.request_path.core.claims import ClaimableInstance, InstanceClaims, Place
from streams.request_path.core.start_up_times import start_up_ms_since


def instance(
    name: str, service: str = "a", state: InstanceState = InstanceState.WARM, pool: str = "default"
) -> Instance:
    return Instance(
        instance_id=name,
        service=service,
        pool=pool,
        state=state,
        endpoint="http://127.0.0.1:1",
        command_id="c",
        started_ms=1_000,
        changed_ms=1_300,
        warm_since_ms=None if state is InstanceState.STARTING else 1_300,
    )


def claims(*names: str, concurrency: int = 1) -> InstanceClaims:
    made = InstanceClaims("default", lambda _: concurrency)
    for name in names:
        made.observe(instance(name))
    return made


def waiting(warm: InstanceClaims) -> Place:
    """The place of a request that waits for an instance of `a`."""
    place = Place("r", 5_000)
    warm.enqueue("a", place)
    return place


def took(lease: ClaimableInstance | None) -> str:
    assert lease is not None
    return lease.instance.instance_id


def test_an_exclusive_instance_is_given_once() -> None:
    warm = claims("x")

    assert took(warm.claim("a")) == "x"
    assert warm.claim("a") is None


def test_an_instance_serves_as_many_as_its_concurrency() -> None:
    warm = claims("x", concurrency=3)

    assert [warm.claim("a") is not None for _ in range(4)] == [True, True, True, False]


def test_the_instance_used_last_is_given_first() -> None:
    warm = claims("x", "y")
    first = warm.claim("a")
    assert first is not None
    warm.release(first, 5)

    assert warm.claim("a") is first


def test_a_new_instance_is_given_last_since_envoy_may_not_know_it_yet() -> None:
    warm = claims("x", "y")
    warm.observe(instance("new"))

    assert [took(warm.claim("a")) for _ in range(3)][-1] == "new"


def test_what_drains_is_given_to_nobody() -> None:
    warm = claims("x")
    warm.observe(instance("x", state=InstanceState.DRAINING))
    warm.observe(instance("x"))  # old news that comes late

    assert warm.claim("a") is None


def test_what_drains_and_is_kept_after_all_is_given_again() -> None:
    warm = claims("x")
    held = warm.claim("a")
    warm.observe(replace(instance("x", state=InstanceState.DRAINING), changed_ms=2_000))
    warm.observe(instance("x"))  # late news of before
    assert not warm.known("a") or warm.claim("a") is None
    warm.observe(replace(instance("x"), changed_ms=3_000))
    assert warm.claim("a") is None, "it serves a request that came before"
    assert held is not None
    warm.release(held, 5)

    assert took(warm.claim("a")) == "x"


def test_what_does_not_answer_is_given_to_nobody_whatever_is_heard_of_it() -> None:
    warm = claims("x")
    held = warm.claim("a")
    assert held is not None
    warm.discard(held)
    warm.observe(replace(instance("x"), changed_ms=3_000))

    assert warm.claim("a") is None


def test_what_is_not_ready_any_more_is_given_to_nobody_until_it_is() -> None:
    warm = claims("x", "y")
    held = warm.claim("a")
    assert held is not None
    for name in ("x", "y"):
        warm.observe(instance(name, state=InstanceState.STARTING))
    warm.release(held, 5)
    assert warm.claim("a") is None
    warm.observe(instance("y"))

    assert took(warm.claim("a")) == "y"
    assert warm.claim("a") is None


def test_instances_of_another_pool_are_none_of_ours() -> None:
    warm = claims()
    warm.observe(instance("x", pool="other"))

    assert warm.claim("a") is None


def test_one_that_starts_is_no_claim_but_is_told() -> None:
    warm = claims()
    starting = instance("x", state=InstanceState.STARTING)
    warm.observe(starting)

    assert warm.claim("a") is None
    assert warm.candidates("a") == (starting,)


def test_start_up_times_are_learnt() -> None:
    warm = claims("x")

    assert warm.start_up_times.of(("a", "b"), Catalog.of([constituent("b")])) == {
        "a": 300,
        "b": 100,
    }


def test_a_start_during_which_the_clock_stepped_back_took_no_time() -> None:
    stepped = replace(instance("x"), started_ms=2_000)
    warm = claims()
    warm.observe(stepped)

    assert warm.start_up_times.of(("a",), Catalog.of([])) == {"a": 0}
    assert start_up_ms_since(stepped, 1_000) == 0


def test_what_is_busy_with_requests_of_another_process_is_left_alone() -> None:
    warm = claims("x")
    warm.observe(instance("x", state=InstanceState.BUSY))
    assert warm.claim("a") is None

    warm.observe(instance("x"))
    assert took(warm.claim("a")) == "x"


def test_the_late_echo_of_a_claim_takes_nothing_away() -> None:
    warm = claims("x")
    lease = warm.claim("a")
    assert lease is not None
    warm.release(lease, 5)
    warm.observe(instance("x", state=InstanceState.BUSY))

    assert warm.claim("a") is lease


async def test_who_waits_is_served_in_order() -> None:
    warm = claims()
    places = [waiting(warm) for _ in range(2)]
    warm.observe(instance("x"))
    assert [place.done() for place in places] == [True, False]
    warm.release(places[0].result(), 1)

    assert took(places[1].result()) == "x"


async def test_who_leaves_the_line_hands_the_instance_on() -> None:
    warm = claims()
    leaver, stayer = waiting(warm), waiting(warm)
    warm.observe(instance("x"))
    warm.dequeue("a", leaver)

    assert took(stayer.result()) == "x"


def test_use_is_reported_once_and_again_when_the_report_was_lost() -> None:
    warm = claims("x")
    lease = warm.claim("a")
    assert lease is not None
    warm.release(lease, 7)
    told = [InstanceUse(instance_id="x", in_flight=0, uses=1, busy_ms=7, claimable=True)]

    assert warm.collect_reports() == told
    assert warm.collect_reports() == []
    warm.restore_reports(told)
    assert warm.collect_reports() == told


def test_use_of_an_instance_that_has_ended_is_reported_again_when_the_report_was_lost() -> None:
    warm = claims("x")
    lease = warm.claim("a")
    assert lease is not None
    warm.observe(instance("x", state=InstanceState.DRAINING))
    warm.release(lease, 7)
    told = warm.collect_reports()
    warm.restore_reports(told)

    assert warm.collect_reports() == told
    assert told == [InstanceUse(instance_id="x", in_flight=0, uses=1, busy_ms=7, claimable=False)]


def test_an_instance_is_reported_as_soon_as_it_may_be_claimed_and_when_no_more() -> None:
    warm = claims("x")
    assert warm.collect_reports() == [InstanceUse(instance_id="x", in_flight=0, claimable=True)]
    warm.claim("a")
    warm.observe(instance("x", state=InstanceState.DRAINING))
    assert warm.collect_reports() == [InstanceUse(instance_id="x", in_flight=1, claimable=False)]


def test_what_does_not_answer_is_known_until_the_provisioner_has_heard_of_it() -> None:
    warm = claims("x")
    lease = warm.claim("a")
    assert lease is not None
    warm.discard(lease)
    assert warm.known("a") == ["x"]
    told = warm.collect_reports()
    assert told == [InstanceUse(instance_id="x", in_flight=0, claimable=False)]
    assert warm.known("a") == []
    warm.restore_reports(told)
    assert warm.known("a") == ["x"]


@given(st.integers(1, 3), st.integers(1, 4), st.randoms(use_true_random=False))
def test_nobody_ever_has_more_than_there_is(
    concurrency: int, instances: int, chance: random.Random
) -> None:
    async def play() -> None:
        warm = claims(*(f"x{n}" for n in range(instances)), concurrency=concurrency)
        held: list[ClaimableInstance] = []
        places: list[Place] = []
        for _ in range(60):
            act = chance.randrange(4)
            if act == 0 and (lease := warm.claim("a")):
                held.append(lease)
            elif act == 1 and held:
                warm.release(held.pop(chance.randrange(len(held))), 1)
            elif act == 2:
                places.append(waiting(warm))
            elif act == 3 and places:
                place = places.pop(chance.randrange(len(places)))
                if place.done():
                    held.append(place.result())
                else:
                    warm.dequeue("a", place)
            given_away = [*held, *(p.result() for p in places if p.done())]
            counts = Counter(lease.instance.instance_id for lease in given_away)
            assert all(count <= concurrency for count in counts.values())
            assert len(given_away) == sum(lease.in_flight for lease in set(given_away))

    asyncio.run(play())


def test_one_that_recovers_after_it_was_given_up_is_reported_again() -> None:
    warm = claims()
    warm.observe(instance("x"))
    held = warm.claim("a")
    assert held is not None
    warm.observe(replace(instance("x"), state=InstanceState.STARTING, warm_since_ms=None))
    warm.discard(held)
    warm.collect_reports()  # while it is not ready, the provisioner takes no such report

    warm.observe(instance("x"))

    assert [(use.instance_id, use.claimable) for use in warm.collect_reports()] == [("x", False)]
    assert warm.claim("a") is None
