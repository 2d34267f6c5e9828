"""Finds Envoy's binary, and replaces this process by it."""

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
    """The path of Envoy's binary: that of the wheel beside the interpreter, or the one on PATH.

    Raises
    ------
    ToolMissing
        No binary was found.
    """
    # The wheel's module cannot be imported: it has the name of the package of Envoy's messages.
    beside = Path(sys.executable).with_name("envoy")
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        raise ToolMissing(
            "Envoy is missing: pip install 'foremesh[mesh]', or put it on PATH; of the images"
            " only foremesh-envoy has it"
        )
    return found


def exec_envoy(addresses: MeshAddresses, folder: Path, node: str, workers: int) -> None:
    """Replace this process by an Envoy.

    Parameters
    ----------
    addresses
        Where its control plane and its admin interface are.
    folder
        Where its bootstrap configuration is written.
    node
        Its name.
    workers
        Threads that serve requests.

    Raises
    ------
    ToolMissing
        No binary was found.
    """
    binary = find_envoy()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{node}.json"
    file.write_text(json.dumps(bootstrap(addresses, node), indent=2))
    args = ["-c", str(file), "--concurrency", str(workers), "-l", "warning"]
    os.execv(binary, [binary, *args, "--disable-hot-restart"])  # noqa: S606  # no shell
