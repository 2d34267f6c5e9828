from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from harness import CHECKOUT

from streams.cli import cli

BENCHMARK = CHECKOUT.parent / "shared" / "data" / "ppm_benchmark"


@pytest.mark.traces
@pytest.mark.skipif(
    not BENCHMARK.is_dir(), reason="the recorded traces are not beside the checkout"
)
def test_ours_is_above_every_published_method_on_closed_problems(tmp_path: Path) -> None:
    log, rows = "bpi_challenge_2013_closed_problems", str(tmp_path / "o.json")
    command = ["evaluate", "--table", "ppm", str(BENCHMARK), "--logs", log, "--json", rows]
    out = CliRunner().invoke(cli, command, catch_exceptions=False)

    assert out.exit_code == 0, out.output
    found = {row["model"]: row for row in json.loads((tmp_path / "o.json").read_text())}
    ours = found.pop("foremesh")
    assert len(found) == 12
    assert ours["accuracy"] > max(row["accuracy"] for row in found.values())
    assert ours["nt_mae_days"] <= found["Tax"]["nt_mae_days"]
