"""The instances that a provisioner holds."""

from __future__ import annotations

from services import constituent

from streams.provisioners.core.ledger import InstanceLedger


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
