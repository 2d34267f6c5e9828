"""KEDA itself: its operator and its adapter of metrics, which answers the API server's HPA."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

from binaries import KEDA_MANIFESTS, Programs
from control_plane import ControlPlane, self_signed, served

from streams.runtime.ports import free_ports

__all__ = ["keda"]

NAMESPACE, METRICS = "keda", "external.metrics.k8s.io"
SERVICE = "keda-metrics-apiserver"


@contextlib.contextmanager
def keda(found: Programs, there: ControlPlane) -> Iterator[Path]:
    """KEDA at work in every namespace; where its logs are."""
    folder = there.folder / "keda"
    folder.mkdir()
    self_signed(folder, "tls", "keda", f"DNS:localhost,DNS:{SERVICE}.{NAMESPACE}.svc")
    shutil.copy(folder / "tls.crt", folder / "ca.crt")
    _kubectl(there, "apply", "--server-side", "-f", str(KEDA_MANIFESTS / "crd" / "bases"))
    _kubectl(there, "create", "namespace", NAMESPACE)
    serving, asking, health = free_ports(3)
    env = {
        "KUBECONFIG": str(there.kubeconfig()),
        "POD_NAMESPACE": NAMESPACE,
        "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE,
        "WATCH_NAMESPACE": "",
    }
    _announce(there, folder, serving)

    def answers() -> bool:
        return "APIResourceList" in _kubectl(there, "get", "--raw", f"/apis/{METRICS}/v1beta1")

    operator = _operator(found, folder, asking, health)
    adapter = _adapter(found, folder, serving, asking)
    with (
        served("operator", operator, folder, lambda: _ready(health), env=env),
        served("adapter", adapter, folder, answers, env=env),
    ):
        yield folder


def _operator(found: Programs, folder: Path, asking: int, health: int) -> list[str]:
    (metrics,) = free_ports(1)
    return [
        found["keda"],
        f"--metrics-bind-address=127.0.0.1:{metrics}",
        f"--health-probe-bind-address=127.0.0.1:{health}",
        f"--metrics-service-bind-address=127.0.0.1:{asking}",
        f"--cert-dir={folder}",
    ]


def _adapter(found: Programs, folder: Path, serving: int, asking: int) -> list[str]:
    (metrics,) = free_ports(1)
    config = folder.parent / "admin.kubeconfig"
    return [
        found["keda-adapter"],
        "--bind-address=127.0.0.1",
        f"--secure-port={serving}",
        f"--port={metrics}",
        f"--metrics-service-address=localhost:{asking}",
        f"--tls-cert-file={folder / 'tls.crt'}",
        f"--tls-private-key-file={folder / 'tls.key'}",
        f"--cert-dir={folder}",
        *(f"--{of}-kubeconfig={config}" for of in ("lister", "authentication", "authorization")),
    ]


def _announce(there: ControlPlane, folder: Path, port: int) -> None:
    """Tell the API server who knows the metrics."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": NAMESPACE},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
    }
    api = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"v1beta1.{METRICS}"},
        "spec": {
            "service": {"name": SERVICE, "namespace": NAMESPACE, "port": port},
            "group": METRICS,
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "caBundle": b64encode((folder / "ca.crt").read_bytes()).decode(),
        },
    }
    for one in (service, api):
        _kubectl(there, "apply", "-f", "-", given=json.dumps(one))


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except OSError:
        return False


def _kubectl(there: ControlPlane, *words: str, given: str = "") -> str:
    argv = ["kubectl", f"--kubeconfig={there.kubeconfig()}", *words]
    done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
