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

from streams.devstack.child import ServerProcess, free_ports, until
from streams.devstack.tools import locked

__all__ = ["Prometheus", "Tools", "tools"]

FETCH_S, START_S = 300.0, 30.0
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
        done = _run(argv, Path.cwd(), given)
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
            _unpack(folder)
    return Tools(folder / "usr" / "bin" / "prometheus", folder / "usr" / "bin" / "promtool")


def _unpack(folder: Path) -> None:
    """Unpack the package, not install it: no service starts, and nobody needs to be root."""
    assert shutil.which("apt-get"), MISSING
    assert shutil.which("dpkg"), MISSING
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if said := _download(folder):
        # A container may have no lists of packages, and whoever is not root may make none: these
        # are our own.
        lists = ["-o", f"Dir::State={folder / 'apt'}", "-o", f"Dir::Cache={folder / 'apt'}"]
        lists += ["-o", "Dir::State::status=/var/lib/dpkg/status"]
        (folder / "apt" / "lists" / "partial").mkdir(parents=True)
        (folder / "apt" / "archives" / "partial").mkdir(parents=True)
        _run(["apt-get", *_AS_WE_ARE, *lists, "update"], folder)
        said = _download(folder, *lists)
    packages = list(folder.glob("prometheus_*.deb"))
    assert packages, f"{MISSING}:\n{said}"
    done = _run(["dpkg", "-x", str(packages[0]), str(folder)], folder)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(folder / "apt", ignore_errors=True)


_AS_WE_ARE = ("-o", "APT::Sandbox::User=root")  # apt's own user cannot write to our folder


def _download(folder: Path, *options: str) -> str:
    """Fetch the package; what went wrong, if anything."""
    done = _run(["apt-get", *_AS_WE_ARE, *options, "download", "prometheus"], folder)
    return done.stdout + done.stderr if done.returncode else ""


def _run(argv: list[str], cwd: Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, cwd=cwd, input=given, capture_output=True, text=True, timeout=FETCH_S, check=False
    )


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
