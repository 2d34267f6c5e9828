"""As many invented names as a worker may ever meet; the tests have a twentieth of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flooding import CASES, Flood, endure
from live import Live


@pytest.mark.timeout(2_400)
@pytest.mark.parametrize("case", CASES)
def test_a_flood_of_names_costs_no_memory_and_no_record(
    live: Live, tmp_path: Path, case: str
) -> None:
    flood = Flood(pools=1_000, tiers=20_000, services=100_000)
    late = endure(flood, live, tmp_path, case, patience_s=1_800)

    half, most = np.quantile(late, [0.5, 1.0])
    print(f"{case}: heard of within {half:.1f} s (median), {most:.1f} s (at most)")  # noqa: T201 - shown
