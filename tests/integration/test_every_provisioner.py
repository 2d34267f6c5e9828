"""What every provisioner does, wherever instances run; each test runs on each of them."""

from __future__ import annotations

from kube import KubernetesHouse
from provisioner_rigs import LayeredHouse, LocalHouse

from foremesh.testing.provisioners import ProvisionerContract


class TestOnThisMachine(ProvisionerContract):
    house = LocalHouse


class TestForkedFromABase(ProvisionerContract):
    house = LayeredHouse


class TestOnKubernetes(ProvisionerContract):
    house = KubernetesHouse
