"""Kernels are compiled once, by the first process that needs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PREDICTED = """
import foremesh
from streams.settings import Settings

asked = [
    foremesh.Request(request_id=f"r{n}", user="u", service=f"s{n % 3}", at_ms=n * 60_000)
    for n in range(9)
]
profiler = foremesh.Profiler(foremesh.infer_catalog(asked), Settings(rnn="on"))
for one in asked:
    profiler.learn(one)
"""


WITHOUT_SCIPY = """
import sys
import streams.pipeline.worker
from numba.np import linalg
assert "scipy.linalg" not in sys.modules
linalg.ensure_blas()
assert "scipy.linalg" in sys.modules
"""


def test_it_is_said_once_that_kernels_are_compiled_and_only_where_they_are(tmp_path: Path) -> None:
    line = [sys.executable, "-c", "import streams.models.drift"]
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    first, second = (
        subprocess.run(line, env=env, capture_output=True, text=True, check=True).stderr
        for _ in range(2)
    )

    assert first == ("Compiling the models: half a minute or more, once where it can be kept\n")
    assert second == ""


def test_no_request_waits_for_a_compiler_where_kernels_are_kept() -> None:
    line = [sys.executable, "-c", PREDICTED]
    _, second = (
        subprocess.run(line, capture_output=True, text=True, check=True).stderr for _ in range(2)
    )

    assert second == ""


def test_scipy_is_left_to_kernels_that_use_it() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_SCIPY], check=True)
