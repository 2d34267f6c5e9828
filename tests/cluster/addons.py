"""What others run in pods of a cluster, with the rights of their own manifests: CoreDNS and KEDA."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from binaries import COREDNS_MANIFESTS, KEDA_MANIFESTS, Programs
from control_plane import DNS
from images import archive
from shops import said

__all__ = ["Addon", "coredns", "keda", "run"]


@dataclass(frozen=True, slots=True)
class Addon:
    """Manifests, and the only program in each of their images, by the image's name."""

    manifests: str
    programs: Mapping[str, str]

    def archives(self, found: Programs, folder: Path) -> Iterator[Path]:
        """The images, by the names that the manifests have."""
        for image, program in self.programs.items():
            (name,) = set(re.findall(rf"image: ({image}:\S+)", self.manifests))
            path = folder / f"{program}.tar"
            archive(path, name, {program: Path(found[program])}, [f"/{program}"])
            yield path


def run(addons: Iterable[Addon], kubeconfig: Path) -> None:
    """Create what their manifests say, and wait until it is there."""
    kubectl = ("kubectl", f"--kubeconfig={kubeconfig}")
    for one in addons:
        said([*kubectl, "apply", "--server-side", "-f", "-"], one.manifests)
    every = ("deployment", "--all", "--all-namespaces")
    said([*kubectl, "wait", "--for=condition=available", *every, "--timeout=240s"])


def coredns() -> Addon:
    """Names of Services, by the Service kube-dns."""
    template = Template((COREDNS_MANIFESTS / "coredns.yaml.sed").read_text())
    chosen = {"DNS_DOMAIN": "cluster.local", "DNS_SERVER_IP": DNS, "DNS_MEMORY_LIMIT": "170Mi"}
    return Addon(template.substitute(chosen), {"registry.k8s.io/coredns/coredns": "coredns"})


def keda() -> Addon:
    """KEDA's operator, and its adapter of metrics, which answers the API server's HPA."""
    manifests = said(["kubectl", "kustomize", str(KEDA_MANIFESTS / "minimal")])
    images = {
        "ghcr.io/kedacore/keda": "keda",
        "ghcr.io/kedacore/keda-metrics-apiserver": "keda-adapter",
    }
    return Addon(manifests.replace("imagePullPolicy: Always", "imagePullPolicy: Never"), images)
