"""The command line where its standard output cannot be written to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_a_standard_output_that_cannot_be_written_to_is_an_error_in_one_sentence(
    tmp_path: Path, where: str
) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,service\nann,pricing\n")
    line = f'"{sys.executable}" -m streams catalog infer "{log}" {where}'
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "foremesh: nothing can be written: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_log_of_which_no_row_can_be_used_says_why(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,service,time\nann,pricing,20261107\n")
    line = [sys.executable, "-m", "streams", "catalog", "infer", str(log)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no row that can be used: line 2, time '20261107' may be a date" in done.stderr
