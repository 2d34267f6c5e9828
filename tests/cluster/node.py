"""A real node: kubelet, containerd and a bridge, in namespaces that end with it and take all along."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template

from binaries import Programs
from control_plane import DNS, SERVICES, ControlPlane

from streams.devstack.child import ServerProcess

__all__ = ["HOST", "NAME", "node", "wire"]

NAME = "real"
HOST, ADDRESS, PODS = "10.77.0.1", "10.77.0.2", "10.244.0"
CGROUPS = Path("/sys/fs/cgroup")
NODE = Path(__file__).with_name("node.sh")
CONTAINERD = """
version = 2
root = "$folder/containerd"
state = "$folder/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "$folder/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/pause:1"
  restrict_oom_score_adj = true
  enable_unprivileged_ports = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$cni"
    conf_dir = "$folder/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "$programs/runc"
"""
KUBELET = """
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}}
cgroupDriver: cgroupfs
clusterDNS: [$dns]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://$folder/containerd.sock
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
failCgroupV1: false
failSwapOn: false
fileCheckFrequency: 0s
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
maxPods: 60
nodeLeaseDurationSeconds: 4
nodeStatusUpdateFrequency: 1s
oomScoreAdj: 0
podLogsDir: $folder/logs
resolvConf: $folder/resolv.conf
volumePluginDir: $folder/plugins
"""
PROXY = """
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: 127.0.0.1
clientConnection: {kubeconfig: $folder/proxy.kubeconfig}
clusterCIDR: $pods.0/24
hostnameOverride: real
mode: iptables
conntrack: {maxPerCore: 0, min: 0, tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 0s}
"""
NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "pods",
            "isGateway": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": f"{PODS}.0/24"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
    ],
}


@contextlib.contextmanager
def wire() -> Iterator[None]:
    """The two ends of a cable: one has this machine's address of the cluster, one goes to the node."""
    _ip("link", "add", "foremesh", "type", "veth", "peer", "name", "node")
    try:
        _ip("address", "add", f"{HOST}/24", "dev", "foremesh")
        _ip("link", "set", "foremesh", "up")
        yield
    finally:
        with contextlib.suppress(AssertionError):  # it went with the node
            _ip("link", "delete", "foremesh")


@contextlib.contextmanager
def node(
    found: Programs, there: ControlPlane, images: Sequence[Path], folder: Path
) -> Iterator[Path]:
    """The node, at the end of a `wire`; the folder has its logs."""
    _configure(found, there, images, folder)
    before = _cgroups()
    child = ServerProcess("node", folder)
    argv = ["/usr/bin/unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"]
    env = {**os.environ, "ADDRESS": ADDRESS, "GATEWAY": HOST}
    try:
        argv += ["/bin/bash", str(NODE), str(folder), str(found.folder)]
        child.start(argv, env=env, death_signal=signal.SIGKILL)
        _plug(child)
        yield folder
    finally:
        child.stop(signal.SIGKILL, 20)
        for group in sorted(_cgroups() - before, key=lambda one: -len(one.parts)):
            with contextlib.suppress(OSError):
                group.rmdir()
        shutil.rmtree(folder / "containerd", ignore_errors=True)  # its images: gigabytes


def _plug(child: ServerProcess) -> None:
    """Give the node its end of the wire, and this machine the way to its pods and Services."""
    process = child.process()
    assert process is not None, child.log_end()
    while not (inner := process.children()):
        child.alive_or_raise()
    _ip("link", "set", "node", "netns", str(inner[0].pid))
    for there in (f"{PODS}.0/24", SERVICES):
        _ip("route", "replace", there, "via", ADDRESS)


def _configure(found: Programs, there: ControlPlane, images: Sequence[Path], folder: Path) -> None:
    names = {
        "folder": folder,
        "programs": found.folder,
        "cni": found["cni"],
        "dns": DNS,
        "pods": PODS,
    }
    for name, text in (
        ("containerd.toml", CONTAINERD),
        ("kubelet.yaml", KUBELET),
        ("proxy.yaml", PROXY),
    ):
        (folder / name).write_text(Template(text).substitute(names))
    for who in ("node", "proxy"):  # their tokens have the same names
        (folder / f"{who}.kubeconfig").write_text(there.kubeconfig(who, who).read_text())
    (folder / "resolv.conf").write_text(f"nameserver {HOST}\n")  # nobody answers there
    for name in ("cni", "images"):
        (folder / name).mkdir()
    (folder / "cni" / "1.conflist").write_text(json.dumps(NETWORK))
    for image in images:
        (folder / "images" / image.name).symlink_to(image)


def _cgroups() -> set[Path]:
    return {Path(found) for found, _, _ in os.walk(CGROUPS)}


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)} failed: {done.stderr}"
