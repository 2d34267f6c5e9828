"""The image of deploy/Dockerfile, built with buildah on a base of Debian's, as root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from harness import CHECKOUT

__all__ = ["buildah", "built", "saved"]

FOLDER = CHECKOUT / "build" / "image"
BASE = FOLDER / "base"


def said(*argv: str | Path) -> str:
    env = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=560)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def buildah(*words: str | Path) -> str:
    return said("buildah", "--root", FOLDER / "store", "--runroot", FOLDER / "run", *words)


def debian() -> None:
    """A root file system of Debian's with Python, and nothing that is only read by people."""
    if BASE.exists():
        return
    new = BASE.with_name("new")
    shutil.rmtree(new, ignore_errors=True)
    said("debootstrap", "--variant=minbase", "--include=python3-minimal,python3-venv,ca-certificates",
         "bookworm", new)  # fmt: skip
    for needless in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
        shutil.rmtree(new / needless)
    new.rename(BASE)


def built() -> str:
    """The name of the image, built anew where something has changed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    debian()
    if "localhost/base" not in buildah("images", "--format", "{{.Name}}"):
        made = buildah("from", "scratch")
        buildah("add", "--quiet", made, BASE, "/")
        buildah("commit", "--quiet", "--rm", made, "localhost/base")
    # Its trust in others is this machine's, which may be behind a proxy.
    buildah("build", "--layers", "--pull-never", "--build-arg", "BASE=localhost/base",
            "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro", "--tag", "localhost/foremesh",
            "--file", CHECKOUT / "deploy" / "Dockerfile", CHECKOUT)  # fmt: skip
    return "localhost/foremesh"


def saved(path: Path, name: str) -> None:
    """Write the image, built, as an archive in which it has this name."""
    path.unlink(missing_ok=True)
    buildah("push", "--quiet", built(), f"docker-archive:{path}:{name}")
