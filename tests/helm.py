"""Helm, which Go builds where it is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from harness import CHECKOUT

__all__ = ["helm_built", "helm_program"]

MODULE = "helm.sh/helm/v3/cmd/helm@v3.18.4"


BUILD = CHECKOUT / "build" / "helm"


def helm_built() -> Path | None:
    """Helm, where it is there already."""
    if found := shutil.which("helm"):
        return Path(found)
    built = BUILD / "bin" / "helm"
    return built if built.exists() else None


def helm_program() -> Path:
    """Helm, built once where it is not installed."""
    if found := helm_built():
        return found
    assert shutil.which("go"), "Go is missing: install it, it builds Helm once; or install Helm"
    caches = {"GOPATH": str(BUILD / "go"), "GOCACHE": str(BUILD / "cache")}
    env = {**os.environ, **caches, "GOBIN": str(BUILD / "bin"), "GOFLAGS": "-modcacherw"}
    subprocess.run(["go", "install", MODULE], env=env, check=True, timeout=1_500)
    shutil.rmtree(BUILD / "go")
    shutil.rmtree(BUILD / "cache")
    return BUILD / "bin" / "helm"
