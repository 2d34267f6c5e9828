"""What every provisioner does, on a real cluster, with no more rights than the manifests give."""

from __future__ import annotations

import pytest
from house import ClusterHouse

from foremesh.testing.provisioners import ProvisionerContract

pytest_plugins = ["clusters"]


@pytest.mark.usefixtures("cluster")
class TestOnACluster(ProvisionerContract):
    house = ClusterHouse
