"""Programs of Debian's packages, unpacked and not installed: no service starts, nobody is root."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

__all__ = ["unpack"]

FETCH_S = 300.0
_AS_WE_ARE = ("-o", "APT::Sandbox::User=root")  # apt's own user cannot write to our folder


def unpack(package: str, folder: Path, missing: str) -> None:
    """Have a package in a folder, which is made anew; AssertionError with `missing` if it cannot be."""
    assert shutil.which("apt-get"), missing
    assert shutil.which("dpkg"), missing
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if said := _download(package, folder):
        # A container may have no lists of packages, and whoever is not root may make none: these
        # are our own.
        lists = ["-o", f"Dir::State={folder / 'apt'}", "-o", f"Dir::Cache={folder / 'apt'}"]
        lists += ["-o", "Dir::State::status=/var/lib/dpkg/status"]
        (folder / "apt" / "lists" / "partial").mkdir(parents=True)
        (folder / "apt" / "archives" / "partial").mkdir(parents=True)
        _run(["apt-get", *_AS_WE_ARE, *lists, "update"], folder)
        said = _download(package, folder, *lists)
    packages = list(folder.glob(f"{package}_*.deb"))
    assert packages, f"{missing}:\n{said}"
    done = _run(["dpkg", "-x", str(packages[0]), str(folder)], folder)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(folder / "apt", ignore_errors=True)


def _download(package: str, folder: Path, *options: str) -> str:
    """Fetch the package; what went wrong, if anything."""
    done = _run(["apt-get", *_AS_WE_ARE, *options, "download", package], folder)
    return done.stdout + done.stderr if done.returncode else ""


def _run(argv: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, timeout=FETCH_S, check=False
    )
