"""Helm, which Go builds where it is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from harness import CHECKOUT

__all__ = ["helm_program"]

MODULE = "helm.sh/helm/v3/cmd/helm@v3.18.4"


def helm_program() -> Path:
    """Helm, built once where it is not installed."""
    if found := shutil.which("helm"):
        return Path(found)
    build = CHECKOUT / "build" / "helm"
    built = build / "bin" / "helm"
    if not built.exists():
        assert shutil.which("go"), "Go is missing: install it, it builds Helm once; or install Helm"
        caches = {"GOPATH": str(build / "go"), "GOCACHE": str(build / "cache")}
        env = {**os.environ, **caches, "GOBIN": str(build / "bin"), "GOFLAGS": "-modcacherw"}
        subprocess.run(["go", "install", MODULE], env=env, check=True, timeout=1_500)
        shutil.rmtree(build / "go")
        shutil.rmtree(build / "cache")
    return built
