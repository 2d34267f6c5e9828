from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from harness import CHECKOUT


def test_bench_fails_at_once_without_the_load_generator(tmp_path: Path) -> None:
    make = shutil.which("make")
    assert make is not None

    done = subprocess.run(
        [make, "bench"],
        cwd=CHECKOUT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )

    assert done.returncode != 0
    assert done.stdout == "wrk is missing: install the package wrk, it generates load\n"
