"""The documented instance in Go, built and asked: `make go`, where there is Go."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from documented import documented, serves


@pytest.fixture
def program(tmp_path: Path) -> str:
    """The example, built."""
    [code] = documented("go")
    (tmp_path / "main.go").write_text(code)
    env = {**os.environ, "GOCACHE": str(tmp_path / "cache"), "GO111MODULE": "off"}
    subprocess.run(["go", "build", "-o", "pricing", "main.go"], cwd=tmp_path, env=env, check=True)
    return str(tmp_path / "pricing")


@pytest.mark.timeout(200)
async def test_the_documented_instance_in_go_becomes_warm_serves_and_ends(program: str) -> None:
    await serves([program])
