from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import gentd26
import pytest
from click.testing import CliRunner
from harness import CHECKOUT

from streams.cli import cli

BENCHMARK = CHECKOUT.parent / "shared" / "data" / "ppm_benchmark"


@pytest.mark.traces
@pytest.mark.skipif(
    not BENCHMARK.is_dir(), reason="the recorded traces are not beside the checkout"
)
def test_the_batch_trained_model_is_above_every_published_method_on_closed_problems(
    tmp_path: Path,
) -> None:
    log, rows = "bpi_challenge_2013_closed_problems", str(tmp_path / "o.json")
    command = ["evaluate", "--table", "ppm", str(BENCHMARK), "--logs", log, "--json", rows]
    out = CliRunner().invoke(cli, command, catch_exceptions=False)

    assert out.exit_code == 0, out.output
    found = {row["model"]: row for row in json.loads((tmp_path / "o.json").read_text())}
    ours, network = found.pop("foremesh"), found.pop("foremesh, with network")
    batch = found.pop("log-linear, batch-trained")
    assert len(found) == 12
    assert batch["accuracy"] > max(row["accuracy"] for row in found.values())
    assert batch["nt_mae_days"] <= found["Tax"]["nt_mae_days"]
    # What a worker runs has seen each event once, in order of time.
    published = median(row["accuracy"] for row in found.values())
    assert min(ours["accuracy"], network["accuracy"]) > published


@pytest.mark.traces
@pytest.mark.skipif(
    not gentd26.FOLDER.is_dir(), reason="the recorded traces are not beside the checkout"
)
def test_the_image_generation_trace_has_a_catalogue_with_the_starts_that_were_measured() -> None:
    log = gentd26.requests()
    catalog = gentd26.catalogue(log)

    assert len(log) == 26_798
    assert all(catalog.knows(request.service) for request in log)
    starts = {name: known.warm_up_ms for name, known in catalog.constituents.items()}
    bases = sorted(ms for name, ms in starts.items() if "/" not in name)
    adapters = sorted(ms for name, ms in starts.items() if "/" in name)
    assert len(bases) == 86
    assert median(bases) == pytest.approx(22_700, rel=0.15)  # as published, 22.7 and 4.4 s
    assert median(adapters) == pytest.approx(4_400, rel=0.05)
    assert catalog.composites["M0001+1"].steps == (("M0001",), ("M0001/lora-1",))
