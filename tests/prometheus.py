"""A real Prometheus and promtool: those of the path, or of Debian's package, unpacked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debian import unpack

from streams.devstack.child import ServerProcess, until
from streams.devstack.tools import locked
from streams.runtime.ports import free_ports

__all__ = ["Prometheus", "Tools", "tools"]

FETCH_S, CHECK_S, START_S = 300.0, 300.0, 30.0
MISSING = (
    "Prometheus is missing: install it (with promtool; Debian's package is called prometheus),"
    " or have apt-get and dpkg fetch it"
)


@dataclass(frozen=True, slots=True)
class Tools:
    """Where the two programs are."""

    prometheus: Path
    promtool: Path

    def check(self, *args: str | Path, given: str | None = None) -> str:
        """Run promtool; what it printed, AssertionError if it refuses."""
        argv = [str(self.promtool), *map(str, args)]
        done = subprocess.run(
            argv, input=given, capture_output=True, text=True, timeout=CHECK_S, check=False
        )
        assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


def tools(build: Path) -> Tools:
    """Both programs, fetched once; AssertionError says in a sentence what is missing."""
    found = [shutil.which(name) for name in ("prometheus", "promtool")]
    if all(found):
        return Tools(*(Path(str(one)) for one in found))
    folder = build / "prometheus"
    with locked(build / "prometheus.lock", FETCH_S):
        if not (folder / "usr" / "bin" / "promtool").exists():
            unpack("prometheus", folder, MISSING)
    return Tools(folder / "usr" / "bin" / "prometheus", folder / "usr" / "bin" / "promtool")


class Prometheus:
    """A server that runs, and what one may ask it."""

    def __init__(self, address: str) -> None:
        self.address = address

    @classmethod
    @contextmanager
    def started(cls, found: Tools, config: Path, folder: Path) -> Iterator[Prometheus]:
        """A server with this configuration, ended at the end."""
        [port] = free_ports(1)
        one = cls(f"127.0.0.1:{port}")
        child = ServerProcess("Prometheus", folder)
        argv = [str(found.prometheus), f"--config.file={config}"]
        argv += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={one.address}"]
        try:
            child.start(argv, env=dict(os.environ), death_signal=signal.SIGKILL)
            until(one.is_ready, child, START_S)
            yield one
        finally:
            child.stop(signal.SIGTERM, 10)

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer of its API."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return told["data"]
