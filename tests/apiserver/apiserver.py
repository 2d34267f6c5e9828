"""Kubernetes' own API server for custom resources, on its own etcd: what it refuses is refused."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debian import unpack
from harness import CHECKOUT
from lightkube import AsyncClient, KubeConfig
from lightkube.config.models import Cluster as Server
from lightkube.config.models import User

from streams.devstack.child import ServerProcess, until
from streams.runtime.ports import free_ports

__all__ = ["BUILD", "ApiServer", "Programs", "definition", "programs", "started"]
MODULE = "k8s.io/apiextensions-apiserver@v0.37.2"
NAMESPACE = "shop"
BUILD_S, START_S = 1_800, 60
# They need what only a whole cluster has, or would ask it.
WITHOUT = (
    "NamespaceLifecycle,MutatingAdmissionWebhook,ValidatingAdmissionWebhook,"
    "ValidatingAdmissionPolicy,MutatingAdmissionPolicy"
)


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the two servers are."""

    apiserver: Path
    etcd: Path


def programs(build: Path) -> Programs:
    """Both servers, built and unpacked once; AssertionError says what is missing."""
    build.mkdir(parents=True, exist_ok=True)
    apiserver = build / "bin" / "apiextensions-apiserver"
    if not apiserver.exists():
        assert shutil.which("go"), "Go is missing: install it, it builds the API server once"
        caches = {"GOPATH": str(build / "go"), "GOCACHE": str(build / "cache")}
        env = {**os.environ, **caches, "GOBIN": str(build / "bin"), "GOFLAGS": "-modcacherw"}
        _run(["go", "install", MODULE], build, env)
        shutil.rmtree(build / "go", ignore_errors=True)
        shutil.rmtree(build / "cache", ignore_errors=True)
    return Programs(apiserver, _etcd(build))


def _etcd(build: Path) -> Path:
    if found := shutil.which("etcd"):
        return Path(found)
    unpacked = build / "etcd"
    if not (unpacked / "usr" / "bin" / "etcd").exists():
        unpack("etcd-server", unpacked, "etcd is missing: install it")
    return unpacked / "usr" / "bin" / "etcd"


def _run(argv: list[str], cwd: Path, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=BUILD_S, check=False
    )
    assert done.returncode == 0, f"{' '.join(argv)} failed:\n{done.stdout}{done.stderr}"


@dataclass(frozen=True, slots=True)
class ApiServer:
    """A server that runs, and who may ask it."""

    address: str
    folder: Path

    def connect(self) -> AsyncClient:
        """A client of one that may do everything."""
        config = KubeConfig.from_one(
            cluster=Server(server=self.address, certificate_auth=str(self.folder / "serving.crt")),
            user=User(
                client_cert=str(self.folder / "admin.crt"),
                client_key=str(self.folder / "admin.key"),
            ),
        )
        return AsyncClient(config, namespace=NAMESPACE, trust_env=False)


@contextlib.contextmanager
def started(found: Programs, folder: Path) -> Iterator[ApiServer]:
    """Both servers, ended at the end."""
    keys, data = folder / "keys", folder / "etcd"
    keys.mkdir()
    data.mkdir(mode=0o700)
    _certificates(keys)
    client, peer, port = free_ports(3)
    etcd, server = ServerProcess("etcd", data), ServerProcess("API server", keys)
    urls = f"http://127.0.0.1:{client}"
    etcd_argv = [found.etcd, "--data-dir", data / "data", "--listen-client-urls", urls]
    etcd_argv += ["--advertise-client-urls", urls]
    etcd_argv += ["--listen-peer-urls", f"http://127.0.0.1:{peer}"]
    there = ApiServer(f"https://127.0.0.1:{port}", keys)
    try:
        etcd.start([str(one) for one in etcd_argv], env=dict(os.environ))
        server.start(_server(found, there, urls, port), env=dict(os.environ))
        until(lambda: _is_ready(there), server, START_S)
        yield there
    finally:
        for child in (server, etcd):
            child.stop(signal.SIGTERM, 10)


def _server(found: Programs, there: ApiServer, etcd: str, port: int) -> list[str]:
    keys = there.folder
    # It asks itself who is who: there is no other API server.
    (keys / "kubeconfig").write_text(_KUBECONFIG.format(address=there.address, keys=keys))
    own = {
        "bind-address": "127.0.0.1",
        "secure-port": port,
        "etcd-servers": etcd,
        "tls-cert-file": keys / "serving.crt",
        "tls-private-key-file": keys / "serving.key",
        "client-ca-file": keys / "ca.crt",
        "kubeconfig": keys / "kubeconfig",
        "authentication-kubeconfig": keys / "kubeconfig",
        "authorization-kubeconfig": keys / "kubeconfig",
        "disable-admission-plugins": WITHOUT,
        "authentication-skip-lookup": "true",
        "enable-priority-and-fairness": "false",
    }
    return [str(found.apiserver), *(f"--{name}={value}" for name, value in own.items())]


def _is_ready(there: ApiServer) -> bool:
    context = ssl.create_default_context(cafile=there.folder / "serving.crt")
    context.load_cert_chain(there.folder / "admin.crt", there.folder / "admin.key")
    # Not /readyz: that waits for the Services of a whole cluster.
    kinds = f"{there.address}/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    try:
        with urllib.request.urlopen(kinds, timeout=5, context=context):
            return True
    except OSError:
        return False


def _certificates(folder: Path) -> None:
    """A certificate that the server shows, and one of a client of the group that may do all."""
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    for name, subject, more in (
        ("serving", "/CN=127.0.0.1", ["-addext", "subjectAltName=IP:127.0.0.1"]),
        ("ca", "/CN=tests", []),
        ("admin", "/O=system:masters/CN=admin", ["-CA", "ca.crt", "-CAkey", "ca.key"]),
    ):
        files = ["-nodes", "-days", "30", "-keyout", f"{name}.key", "-out", f"{name}.crt"]
        usage = ["-addext", "extendedKeyUsage=clientAuth"] if name == "admin" else []
        _run([*new, *files, "-subj", subject, *more, *usage], folder)


_KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: here, cluster: {{server: "{address}", certificate-authority: {keys}/serving.crt}}}}]
users: [{{name: admin, user: {{client-certificate: {keys}/admin.crt, client-key: {keys}/admin.key}}}}]
contexts: [{{name: here, context: {{cluster: here, user: admin}}}}]
current-context: here
"""


def definition(
    group: str, kind: str, schema: dict[str, Any], **subresources: Any
) -> dict[str, Any]:
    """A kind of resource, to be created."""
    plural = f"{kind.lower()}s"
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": subresources,
    }
    # Kinds of Kubernetes' own groups are only taken with this note.
    notes = {"api-approved.kubernetes.io": "unapproved, for tests"}
    return {
        "metadata": {"name": f"{plural}.{group}", "annotations": notes},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "versions": [version],
        },
    }


BUILD = CHECKOUT / "build" / "apiserver"
