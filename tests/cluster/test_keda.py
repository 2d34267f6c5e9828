"""KEDA's operator scales by foremesh's external scaler, and by its fallback while Kafka is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from binaries import programs
from checkout_catalog import checkout_catalog
from control_plane import ControlPlane
from harness import CHECKOUT, RunForemesh, Running
from keda import keda
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from live import Live
from ruamel.yaml import YAML
from services import send
from tenant import Tenant

from foremesh.testing.provisioners import order, until
from streams.devstack.kafka import KafkaServer
from streams.runtime.ports import free_port
from streams.settings import Settings

pytest_plugins = ["clusters"]
pytestmark = pytest.mark.timeout(900)

EXAMPLE = CHECKOUT / "deploy" / "kubernetes" / "keda" / "scaledobject.example.yaml"
SCALED = create_namespaced_resource("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects")
PROTOCOLS = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,STAYS:PLAINTEXT"
SOON_S, LATER_S = 60.0, 240.0
GONE_S = 15.0  # longer than it takes to fail as often as the fallback wants


@pytest.fixture(scope="module", autouse=True)
def operator(cluster: ControlPlane) -> Iterator[Path]:
    """KEDA, for the tests of this module."""
    with keda(programs(), cluster) as logs:
        yield logs


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KafkaServer, str]]:
    """A Kafka of this module, with a listener whose port stays."""
    at, folder = f"127.0.0.1:{free_port()}", tmp_path_factory.mktemp("kafka")
    properties = {"listener.security.protocol.map": PROTOCOLS}
    server = KafkaServer(
        folder, CHECKOUT / "build", listeners=[f"STAYS://{at}"], properties=properties
    )
    server.launch(tied=True)
    try:
        server.wait()
        yield server, at
    finally:
        server.stop()


@pytest.fixture
def settings(kafka: tuple[KafkaServer, str], settings: Settings) -> Settings:
    return replace(settings, kafka=kafka[1], partitions=2)


@dataclass
class Shop:
    """A Deployment that KEDA scales, and what tells it how far."""

    live: Live
    tenant: Tenant
    run: RunForemesh
    at: str  # where the scaler listens
    scaler: Running = field(init=False)

    async def pods(self, count: int, within_s: float = SOON_S) -> None:
        """Wait until there are so many."""
        await until(lambda: self.tenant.running("pricing") == count, within_s)

    async def tell(self) -> None:
        """Start the scaler, again."""
        self.scaler = self.run("keda", "--listen", self.at)
        await until(lambda: "listens on" in self.scaler.output, SOON_S)


@pytest.fixture
async def shop(
    cluster: ControlPlane, live: Live, run_foremesh: RunForemesh, tmp_path: Path
) -> AsyncIterator[Shop]:
    """A shop of one constituent, without pods."""
    (tmp_path / "catalog.yaml").write_text(checkout_catalog(1))
    await asyncio.to_thread(live.catalogue, tmp_path / "catalog.yaml")
    at = f"127.0.0.1:{free_port()}"
    async with Tenant(cluster) as tenant:
        await tenant.deploy("pricing")
        made = Shop(live, tenant, run_foremesh, at)
        await made.tell()
        await tenant.admin.create(scaled(at))
        yield made
        await tenant.admin.delete(SCALED, "pricing-warm")


def scaled(at: str) -> Any:
    """The example's ScaledObject, of a scaler on this machine and for tests in a hurry."""
    spec = next(YAML(typ="safe").load_all(EXAMPLE.read_text()))["spec"]
    (trigger,) = spec["triggers"]
    trigger["metadata"]["scalerAddress"] = at
    del trigger["authenticationRef"]  # on loopback there is no TLS
    hurry = {"pollingInterval": 1, "cooldownPeriod": 5}
    return SCALED(metadata=ObjectMeta(name="pricing-warm"), spec={**spec, **hurry})


async def test_a_pod_is_there_ahead_of_predicted_requests_and_goes_when_none_are_expected(
    shop: Shop, tmp_path: Path
) -> None:
    shop.run("provision", "--dry-run")
    shop.live.worker()
    log = tmp_path / "log.csv"
    rows = [f"ann,checkout,{1_762_500_000 + n}" for n in range(40)]
    log.write_text("\n".join(["user,service,ts", *rows]) + "\n")
    fields = ("--user", "user", "--item", "service", "--time", "ts")
    played = shop.run("produce", str(log), *fields, "--shift-to-now")
    await shop.pods(1, LATER_S)
    assert played.process.poll() is None  # more of them are to come

    await shop.pods(0, LATER_S)
    assert played.process.poll() == 0


async def test_there_are_as_many_pods_as_instances_wanted_and_the_fallbacks_when_that_is_unknown(
    shop: Shop, kafka: tuple[KafkaServer, str]
) -> None:
    shop.run("provision", "--dry-run")
    send(shop.live.settings, [order("pricing", count=3)])
    await shop.pods(3)

    shop.scaler.kill()  # KEDA knows no metric without it, and changes nothing
    await asyncio.sleep(GONE_S)
    assert shop.tenant.running("pricing") == 3

    await shop.tell()
    await asyncio.to_thread(kafka[0].stop)
    await shop.pods(2, LATER_S)  # as the example says

    kafka[0].launch(tied=True)
    await shop.pods(3, LATER_S)
