"""What users may invent, at once and as long as it may be: one pool goes on as if nobody did."""

from __future__ import annotations

from pathlib import Path

import pytest
from flooding import CASES, Flood, endure
from live import Live


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES)
def test_names_that_users_invent_cost_no_memory_no_record_and_no_tick(
    live: Live, tmp_path: Path, case: str
) -> None:
    endure(Flood(pools=200, tiers=2_000, services=6_000), live, tmp_path, case, patience_s=300)
