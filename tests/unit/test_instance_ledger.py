"""The instances that a provisioner holds."""

from __future__ import annotations

from dataclasses import replace

from services import constituent
from test_claims import instance

from streams.provisioners.core.interface import InstanceUse
from streams.provisioners.core.ledger import InstanceLedger
from streams.records import Instance, InstanceState
from streams.stages.admission import MOST_TEXT


async def test_instances_may_come_and_go_while_somebody_looks_at_each() -> None:
    ledger = InstanceLedger("default", lambda _: None)
    for _ in range(3):
        ledger.add(constituent("a"), "c1", 1, "")
    seen = 0
    for held in ledger:  # as a scrape does in a thread of its own
        ledger.discard(held)
        ledger.add(constituent("b"), "c2", 2, "")
        ledger.add(constituent("b"), "c2", 2, "")
        seen += 1

    assert (seen, len(ledger)) == (3, 6)


async def test_an_adopted_instance_is_busy_until_nobody_has_said_so_for_long() -> None:
    told: list[Instance] = []
    ledger = InstanceLedger("default", told.append)
    ledger.adopt(constituent("a"), instance("x", state=InstanceState.BUSY), 1_000)
    ledger.expire_reports(1_000, 2_000)
    ledger.publish()
    assert not told

    ledger.expire_reports(1_001, 2_000)
    ledger.publish()
    assert [one.state for one in told] == [InstanceState.WARM]


async def test_of_an_adopted_instance_is_told_what_it_serves() -> None:
    told: list[Instance] = []
    ledger = InstanceLedger("default", told.append)
    ledger.adopt(constituent("a"), instance("x"), 1_000)
    ledger.report_use(InstanceUse(instance_id="x", in_flight=1, uses=2), 1_500)
    ledger.publish()

    assert [(one.state, one.uses) for one in told] == [(InstanceState.BUSY, 2)]


async def test_an_instance_of_no_concurrency_serves_one_request_at_a_time() -> None:
    ledger = InstanceLedger("default", lambda _: None)
    held = ledger.adopt(replace(constituent("a"), concurrency=0), instance("x"), 1_000)
    ledger.report_use(InstanceUse(instance_id="x", in_flight=0), 1_500)

    assert held.instance.state is InstanceState.WARM


async def test_texts_of_a_record_are_what_its_readers_take() -> None:
    told: list[Instance] = []
    ledger = InstanceLedger("default", told.append)
    held = ledger.add(constituent("a"), "c" * 9_000, 1, "r" * 9_000)
    ledger.change_state(held, InstanceState.STARTING, 1)
    ledger.change_state(held, InstanceState.GONE, 2, reason="crashed: " + "x" * 9_000)

    texts = [text for one in told for text in (one.command_id, one.reason)]
    assert {len(text) for text in texts} == {MOST_TEXT}


async def test_what_an_earlier_provisioner_left_is_forgotten_some_time_after_it_is_told_as_gone() -> (
    None
):
    told: list[Instance] = []
    ledger = InstanceLedger("default", told.append)
    ledger.bury([instance("x")], 1_000)
    assert [one.state for one in told] == [InstanceState.GONE]

    assert list(ledger.forget_gone(1_000)) == []
    assert [one.instance_id for one in ledger.forget_gone(1_001)] == ["x"]
