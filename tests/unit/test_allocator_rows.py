from __future__ import annotations

import pytest

from streams.allocator.state_bytes import decode, encode
from streams.records import Demand, ServiceDemand
from streams.stages.row_encoding import to_row


@pytest.mark.parametrize(
    ("version", "asked", "seen"),
    [(2, ["draw", "gold", 1.5, 1.5], 0), (4, ["draw", "gold", 1.5, 1.5, 7], 7)],
)
def test_demand_that_was_saved_with_a_variance_is_read(
    version: int, asked: list[object], seen: int
) -> None:
    row = to_row(version, ["default", 3, 1_000, 60_000, 2_000, [asked], []])

    demand = decode(row)

    assert isinstance(demand, Demand)
    assert demand.services == (ServiceDemand("draw", "gold", 1.5, seen),)
    assert decode(encode(demand)) == demand
