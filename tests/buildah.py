"""The images of deploy/Dockerfile, built with buildah on a base of Debian's, as root."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from harness import CHECKOUT

__all__ = ["buildah", "built", "saved"]

FOLDER = CHECKOUT / "build" / "image"
PACKAGES = ("python3-minimal", "python3-venv", "ca-certificates", "binutils")
# What Python and its libraries need of Debian's, and what a connection needs: no shell, no tools.
KEPT = (
    "base-files", "base-passwd", "ca-certificates", "libbz2-1.0", "libc6", "libcrypt1", "libexpat1",
    "libffi8", "libgcc-s1", "liblzma5", "libncursesw6", "libpython3.11-minimal", "libpython3.11-stdlib",
    "libreadline8", "libsqlite3-0", "libssl3", "libstdc++6", "libtinfo6", "libuuid1", "media-types",
    "netbase", "python3-minimal", "python3.11-minimal", "tzdata", "zlib1g",
)  # fmt: skip
MADE = ("/etc/group", "/etc/nsswitch.conf", "/etc/passwd")  # by what installs them
KEY = hashlib.sha256(repr((PACKAGES, KEPT, MADE)).encode()).hexdigest()[:8]
BASE, RUNTIME = FOLDER / f"base-{KEY}", FOLDER / f"runtime-{KEY}"


CONFIGURATION = f"""
[network]
network_config_dir = "{FOLDER}/networks"
"""  # or it leaves a file in /etc


def said(*argv: str | Path) -> str:
    env = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    env["CONTAINERS_CONF"] = str(FOLDER / "containers.conf")
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
    included = f"--include={','.join(PACKAGES)}"
    said("debootstrap", "--variant=minbase", included, "bookworm", new)
    for needless in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
        shutil.rmtree(new / needless)
    new.rename(BASE)


def files_of(package: str) -> Iterator[str]:
    """The files of a package of Debian's."""
    for path in (BASE / "var/lib/dpkg/info").glob(f"{package}*.list"):
        if path.name.partition(":")[0].removesuffix(".list") == package:
            yield from path.read_text().splitlines()


def shell_less() -> None:
    """The same without all that Python does not need."""
    if RUNTIME.exists():
        return
    new, archive = RUNTIME.with_name("new"), RUNTIME.with_name("runtime.tar")
    shutil.rmtree(new, ignore_errors=True)
    links = [path for path in BASE.iterdir() if path.is_symlink()]  # bin, lib, lib64, sbin
    for path in links:
        (new / path.readlink()).mkdir(parents=True)
    made = [str(path)[len(str(BASE)) :] for path in (BASE / "etc/ssl/certs").iterdir()]
    files = [
        *(f"/{path.name}" for path in links),
        *made,
        *MADE,
        *chain(*map(files_of, KEPT)),
    ]
    there = [name for name in dict.fromkeys(files) if os.path.lexists(f"{BASE}{name}")]
    names = [f".{name}" for name in there if name != "/."]
    archive.with_suffix(".list").write_text("\n".join(names))
    said("tar", "--create", "--file", archive, "--directory", BASE, "--no-recursion",
         "--files-from", archive.with_suffix(".list"))  # fmt: skip
    said("tar", "--extract", "--file", archive, "--directory", new, "--keep-directory-symlink")
    archive.unlink()
    new.rename(RUNTIME)


def built(name: str = "foremesh") -> str:
    """The name of an image, foremesh or foremesh-envoy, built anew where something has changed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "containers.conf").write_text(CONFIGURATION)
    debian()
    shell_less()
    for folder in (BASE, RUNTIME):
        if f"localhost/{folder.name}" not in buildah("images", "--format", "{{.Name}}").split():
            made = buildah("from", "scratch")
            buildah("add", "--quiet", made, folder, "/")
            buildah("commit", "--quiet", "--rm", made, f"localhost/{folder.name}")
    # The usual one is what is built without a word.
    target = ("--target", name) if name != "foremesh" else ()
    before = _working()
    # Its trust in others is this machine's, which may be behind a proxy.
    buildah("build", "--layers", "--pull-never", "--build-arg", f"BASE=localhost/{BASE.name}",
            "--build-arg", f"RUNTIME=localhost/{RUNTIME.name}",
            "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro", *target, "--tag", f"localhost/{name}",
            "--file", CHECKOUT / "deploy" / "Dockerfile", CHECKOUT)  # fmt: skip
    for left in _working() - before:  # of a stage that only names another one, still mounted
        buildah("rm", left)
    return f"localhost/{name}"


def _working() -> set[str]:
    """The containers in which something is built."""
    return {*buildah("containers", "--quiet").split()}


def saved(name: str, version: str, folder: Path) -> Path:
    """Write an image, built, to an archive in which it has the name that a cluster looks for."""
    path = folder / f"{name}.tar"
    path.unlink(missing_ok=True)
    buildah(
        "push", "--quiet", built(name), f"docker-archive:{path}:docker.io/library/{name}:{version}"
    )
    return path
