"""The programs of a cluster: most are built by Go, the rest unpacked from Debian's packages.

Run as a script it says what this machine lacks, or has them all, with the time of each. With --check
it makes nothing: its exit code says whether the tests can run at once, its sentences why they cannot.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script it is alone

import click
from buildah import built
from debian import unpack
from harness import CHECKOUT
from helm import helm_built, helm_program

__all__ = [
    "BUILD",
    "COREDNS_MANIFESTS",
    "KEDA_MANIFESTS",
    "VERSION",
    "Programs",
    "programs",
]

BUILD = CHECKOUT / "build" / "cluster"
MODULE = Path(__file__).with_name("go")
KEDA, KUBERNETES = "github.com/kedacore/keda/v2", "k8s.io/kubernetes"
KEDA_MANIFESTS, COREDNS_MANIFESTS = BUILD / "keda", BUILD / "coredns"
VERSION = "v1.37.2"  # as in go.mod
BUILD_S = 3_600
# Where the source of a program is, and where it is in Debian's package of it.
SOURCES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": f"{KUBERNETES}/cmd/kube-apiserver",
    "kube-controller-manager": f"{KUBERNETES}/cmd/kube-controller-manager",
    "kube-scheduler": f"{KUBERNETES}/cmd/kube-scheduler",
    "kube-proxy": f"{KUBERNETES}/cmd/kube-proxy",
    "kubelet": f"{KUBERNETES}/cmd/kubelet",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "coredns": "foremesh/tests/cluster/coredns",
    "keda": f"{KEDA}/cmd/operator",
    "keda-adapter": f"{KEDA}/cmd/adapter",
}
PACKAGES = {
    "busybox": ("busybox-static", "bin/busybox"),
    "cni": ("containernetworking-plugins", "usr/lib/cni"),
    "containerd": ("containerd", "usr/bin/containerd"),
    "containerd-shim-runc-v2": ("containerd", "usr/bin/containerd-shim-runc-v2"),
    "ctr": ("containerd", "usr/bin/ctr"),
    "runc": ("runc", "usr/sbin/runc"),
}
# The manifests of a program: the module that has them, their folder in it, and where they go.
MANIFESTS = {
    "coredns": (KUBERNETES, "cluster/addons/dns/coredns", COREDNS_MANIFESTS),
    "keda": (KEDA, "config", KEDA_MANIFESTS),
}
NAMESPACES = ("unshare", "--net", "--mount", "--pid", "--fork", "true")
STAMPS = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


@dataclass(frozen=True, slots=True)
class Programs:
    """The folder that has them all."""

    folder: Path

    def __getitem__(self, name: str) -> str:
        """The path of a program; AssertionError says how to have it."""
        path = self.folder / name
        assert path.exists(), f"{name} is missing: make cluster builds it"
        return str(path)


def programs() -> Programs:
    """Those that there are."""
    return Programs(BUILD / "bin")


def lacking() -> Iterator[str]:
    """What this machine lacks to run them, a sentence each."""
    if sys.platform != "linux":
        yield "A cluster runs on Linux only: this is another system."
    if os.geteuid() != 0:
        yield "A cluster needs root: its node makes cgroups, mounts and interfaces."
    if missing() & SOURCES.keys() and not shutil.which("go"):
        yield "Go is missing: install it (1.26 or later), it builds Kubernetes once."
    if not Path("/sys/fs/cgroup").is_dir():
        yield "cgroups are missing: mount them at /sys/fs/cgroup, a node limits its pods by them."
    for program in ("openssl", "kubectl", "ip", "unshare", "buildah", "debootstrap"):
        if not shutil.which(program):
            yield f"{program} is missing: install it."
    if shutil.which("unshare") and subprocess.run(NAMESPACES, check=False).returncode:
        yield "Namespaces are missing: a node lives in its own, of mounts, of processes, of a network."


def missing() -> set[str]:
    """The programs that are not there yet."""
    return {name for name in (*SOURCES, *PACKAGES) if not (BUILD / "bin" / name).exists()}


def have(name: str) -> None:
    """Build or unpack a program."""
    (BUILD / "bin").mkdir(parents=True, exist_ok=True)
    if name in SOURCES:
        _build(name, SOURCES[name])
    else:
        package, path = PACKAGES[name]
        if not (BUILD / package / path).exists():
            unpack(package, BUILD / package, f"{name} is missing: install {package}")
        (BUILD / "bin" / name).symlink_to(BUILD / package / path)


def _build(name: str, source: str) -> None:
    module = MODULE / "keda" if source.startswith(KEDA) else MODULE
    stamps = " ".join(f"-X {one}.gitVersion={VERSION}" for one in STAMPS if module == MODULE)
    options = ["-mod=readonly", "-trimpath", f"-ldflags=-s -w {stamps}"]
    if name in MANIFESTS:
        _copy(module, *MANIFESTS[name])
    _go(module, "build", *options, "-o", str(BUILD / "bin" / name), source)


def _copy(module: Path, required: str, folder: str, to: Path) -> None:
    """Copy a folder of a module that this one requires."""
    found = json.loads(_go(module, "mod", "download", "-json", required))
    shutil.copytree(Path(found["Dir"]) / folder, to, dirs_exist_ok=True)


def _go(module: Path, *words: str) -> str:
    env = {**os.environ, "GOPATH": str(BUILD / "go"), "GOCACHE": str(BUILD / "cache")}
    env["CGO_ENABLED"] = "0"  # programs run in images that have nothing else
    env["GOFLAGS"] = f"{env.get('GOFLAGS', '')} -modcacherw".strip()
    argv = ["go", *words]
    done = subprocess.run(
        argv, cwd=module, env=env, stdout=subprocess.PIPE, text=True, check=True, timeout=BUILD_S
    )
    return done.stdout


def check() -> None:
    """Say what keeps the tests from running at once, and end with 1 if anything does."""
    lacks = list(lacking())
    if there := missing() | ({"helm"} if helm_built() is None else set()):
        lacks.append(f"Not built yet: {', '.join(sorted(there))}. `make cluster` builds them once.")
    sys.exit("\n".join(lacks) or 0)


def build() -> None:
    """Have every program, and say how long each took."""
    if lacks := list(lacking()):
        sys.exit("\n".join(lacks))
    absent = [name for name in (*SOURCES, *PACKAGES) if name in missing()]
    steps: list[tuple[str, Callable[[], object]]] = [
        *((name, partial(have, name)) for name in absent),
        ("Helm", helm_program),
        ("the image", built),
        ("the image with Envoy", partial(built, "foremesh-envoy")),
    ]
    for number, (name, make) in enumerate(steps, 1):
        click.echo(f"{name} ({number} of {len(steps)}) ... ", nl=False)
        began = time.monotonic()
        make()
        click.echo(f"{time.monotonic() - began:.0f} s")
    for cache in (BUILD / "go", BUILD / "cache"):
        shutil.rmtree(cache, ignore_errors=True)


if __name__ == "__main__":
    check() if "--check" in sys.argv else build()
