"""etcd, API server, controller manager and scheduler, for as long as tests run."""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from binaries import Programs
from lightkube import AsyncClient, KubeConfig
from lightkube.config.models import Cluster as Server
from lightkube.config.models import User

from streams.devstack.child import ServerProcess, until
from streams.runtime.ports import free_ports

__all__ = ["DNS", "SERVICES", "ControlPlane", "control_plane", "self_signed", "served"]

START_S, STOP_S = 60, 20
SERVICES = "10.96.0.0/16"  # addresses of Services; the first is the API server's
DNS = "10.96.0.10"  # that of names
ADMIN, UNASKED = "admin", "198.51.100.1"
# Nothing is retried for minutes here: tests wait for what follows the end of a node.
IMPATIENT_S = 2
TOKENS = f"""\
{ADMIN},{ADMIN},1,system:masters
node,system:node:real,2,system:nodes
proxy,system:kube-proxy,3
"""
AUDIT = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: ["system:serviceaccounts"]
  - level: Metadata
    verbs: [create]
    resources: [{group: "", resources: [pods/binding]}]
  - level: Metadata
    verbs: [create, update]
    resources: [{group: apps, resources: [replicasets]}]
  - level: None
"""
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: here, cluster: {{server: "{address}", certificate-authority: {authority}}}}}]
users: [{{name: me, user: {{token: "{token}"}}}}]
contexts: [{{name: here, context: {{cluster: here, user: me}}}}]
current-context: here
"""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """An API server that runs, and who may ask it."""

    address: str
    folder: Path

    @property
    def authority(self) -> Path:
        """The certificate of who signs the server's."""
        return self.folder / "serving.crt"

    @property
    def audit(self) -> Path:
        """What service accounts asked, a line of JSON each."""
        return self.folder / "audit.log"

    def connect(self, namespace: str, token: str = ADMIN) -> AsyncClient:
        """A client of somebody's; of one that may do everything unless told otherwise."""
        server = Server(server=self.address, certificate_auth=str(self.authority))
        config = KubeConfig.from_one(cluster=server, user=User(token=token))
        return AsyncClient(config, namespace=namespace, trust_env=False)

    def kubeconfig(self, name: str = "admin", token: str = ADMIN) -> Path:
        """A file that says the same to a program."""
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(
            KUBECONFIG.format(address=self.address, authority=self.authority, token=token)
        )
        return path


@contextlib.contextmanager
def control_plane(
    found: Programs, folder: Path, listen: str = "127.0.0.1"
) -> Iterator[ControlPlane]:
    """All four, ended at the end; `listen` is where the API server is reached."""
    (port,) = free_ports(1)
    there = ControlPlane(f"https://{listen}:{port}", folder)
    _keys(folder, listen)
    with (
        _etcd(found, folder) as etcd,
        served("API server", _api_server(found, there, etcd), folder, lambda: _answers(there)),
        served("controller manager", _controllers(found, there), folder),
        served("scheduler", _scheduler(found, there), folder),
    ):
        yield there


@contextlib.contextmanager
def served(
    name: str,
    argv: list[str],
    folder: Path,
    ready: Callable[[], bool] = lambda: True,
    *,
    env: Mapping[str, str] | None = None,
) -> Iterator[ServerProcess]:
    """A server that is ready, ended at the end."""
    own = folder / name.replace(" ", "-")
    own.mkdir(exist_ok=True)
    server = ServerProcess(name, own)
    try:
        server.start(argv, env={**os.environ, **(env or {})}, death_signal=signal.SIGTERM)
        until(ready, server, START_S)
        yield server
    finally:
        server.stop(signal.SIGTERM, STOP_S)


@contextlib.contextmanager
def _etcd(found: Programs, folder: Path) -> Iterator[str]:
    client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    data = folder / "data"
    data.mkdir(mode=0o700)
    own = {"listen-client-urls": client, "advertise-client-urls": client, "data-dir": data}
    argv = _argv(found["etcd"], {**own, "listen-peer-urls": peer})
    with served("etcd", argv, folder):
        yield client


def _api_server(found: Programs, there: ControlPlane, etcd: str) -> list[str]:
    folder = there.folder
    host, port = there.address.removeprefix("https://").split(":")
    (folder / "audit.yaml").write_text(AUDIT)
    own = {
        "etcd-servers": etcd,
        "bind-address": host,
        # Of Endpoints that no pod asks while it is on loopback, which Kubernetes takes for none.
        "advertise-address": UNASKED if host == "127.0.0.1" else host,
        "secure-port": port,
        "tls-cert-file": there.authority,
        "tls-private-key-file": folder / "serving.key",
        "token-auth-file": folder / "tokens.csv",
        "authorization-mode": "Node,RBAC",
        "service-cluster-ip-range": SERVICES,
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": folder / "accounts.key",
        "service-account-signing-key-file": folder / "accounts.key",
        # How it tells other API servers, of metrics, who asks.
        "requestheader-client-ca-file": folder / "front.crt",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": folder / "front.crt",
        "proxy-client-key-file": folder / "front.key",
        "audit-policy-file": folder / "audit.yaml",
        "audit-log-path": there.audit,
        "default-not-ready-toleration-seconds": IMPATIENT_S,
        "default-unreachable-toleration-seconds": IMPATIENT_S,
        "allow-privileged": "true",
    }
    return _argv(found["kube-apiserver"], own)


def _controllers(found: Programs, there: ControlPlane) -> list[str]:
    own = {
        "root-ca-file": there.authority,
        "service-account-private-key-file": there.folder / "accounts.key",
        "node-monitor-period": "1s",
        "node-monitor-grace-period": "12s",
        "horizontal-pod-autoscaler-sync-period": "1s",
        "horizontal-pod-autoscaler-downscale-stabilization": "1s",
    }
    return _argv(found["kube-controller-manager"], {**own, **_client(there)})


def _scheduler(found: Programs, there: ControlPlane) -> list[str]:
    return _argv(found["kube-scheduler"], _client(there))


def _client(there: ControlPlane) -> dict[str, object]:
    """How a program reaches the API server, the only one of its kind."""
    config = there.kubeconfig()
    (port,) = free_ports(1)
    return {
        "kubeconfig": config,
        "authentication-kubeconfig": config,
        "authorization-kubeconfig": config,
        "authentication-skip-lookup": "true",
        "bind-address": "127.0.0.1",
        "secure-port": port,
        "leader-elect": "false",
        # A burst of tests is no reason to wait.
        "kube-api-qps": 1_000,
        "kube-api-burst": 1_000,
    }


def _argv(program: str, options: dict[str, object]) -> list[str]:
    return [program, *(f"--{name}={value}" for name, value in options.items())]


def _answers(there: ControlPlane) -> bool:
    context = ssl.create_default_context(cafile=there.authority)
    asked = urllib.request.Request(
        f"{there.address}/readyz", headers={"Authorization": f"Bearer {ADMIN}"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=5, context=context):
            return True
    except OSError:
        return False


def _keys(folder: Path, listen: str) -> None:
    """The server's certificate, which signs itself, the key of service accounts, and tokens."""
    names = f"IP:{listen},IP:10.96.0.1,DNS:kubernetes.default.svc"
    self_signed(folder, "serving", "kubernetes", names)
    self_signed(folder, "front", "front", "DNS:front")
    _run(["openssl", "genrsa", "-out", "accounts.key", "2048"], folder)
    (folder / "tokens.csv").write_text(TOKENS)


def self_signed(folder: Path, files: str, subject: str, names: str) -> None:
    """A certificate that signs itself, and its key: files of this name in the folder."""
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    made = ["-keyout", f"{files}.key", "-out", f"{files}.crt", "-subj", f"/CN={subject}"]
    _run([*new, "-nodes", "-days", "30", *made, "-addext", f"subjectAltName={names}"], folder)


def _run(argv: list[str], cwd: Path) -> None:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)} failed:\n{done.stderr}"
