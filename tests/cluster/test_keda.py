"""KEDA, in pods with its own rights, scales by foremesh's external scaler, and by its fallback."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from addons import keda
from checkout_catalog import checkout_catalog
from harness import CHECKOUT, eventually
from installing import ON_A_NODE, a_shop
from services import send
from shops import NAMESPACE, Shop

from foremesh.testing.provisioners import order
from streams.settings import Settings

pytestmark = ON_A_NODE

EXAMPLE = CHECKOUT / "deploy" / "kubernetes" / "keda" / "scaledobject.example.yaml"
PARTS = ("worker", "planner", "keda")
REQUESTS = 60  # a second apart
SOON_S, LATER_S = 60.0, 240.0
GONE_S = 20.0  # longer than it takes to fail as often as the fallback wants


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The chart for KEDA, and the example's ScaledObject."""
    with a_shop(tmp_path_factory.mktemp("shop"), PARTS, ["pricing"], addons=[keda()]) as there:
        there.kubectl("wait", "--for=condition=complete", "job", "--all", "--timeout=240s")
        (there.folder / "catalog.yaml").write_text(checkout_catalog(1))
        assert there.foremesh("catalog", "load", str(there.folder / "catalog.yaml")).wait(60) == 0
        shown = (there.folder / "access" / name for name in ("ca.crt", "tls.crt", "tls.key"))
        files = (f"--from-file={path}" for path in shown)
        there.kubectl("create", "secret", "generic", "foremesh-keda", *files)
        scaled = EXAMPLE.read_text().replace("keda.foremesh:", f"keda.{NAMESPACE}:")
        there.kubectl("apply", "-f", "-", given=scaled)
        yield there


def ready(shop: Shop) -> int:
    """How many pods are."""
    path = "jsonpath={.status.readyReplicas}"
    return int(shop.kubectl("get", "deployment", "pricing-warm", "-o", path) or 0)


def test_a_pod_is_ready_ahead_of_predicted_requests_and_goes_when_none_are_expected(
    shop: Shop,
) -> None:
    log = shop.folder / "log.csv"
    rows = [f"ann,checkout,{1_762_500_000 + n}" for n in range(REQUESTS)]
    log.write_text("\n".join(["user,service,ts", *rows]) + "\n")
    fields = ("--user", "user", "--item", "service", "--time", "ts")
    played = shop.foremesh("produce", str(log), *fields, "--shift-to-now")
    eventually(lambda: ready(shop) > 0, LATER_S)
    assert played.poll() is None  # more of them are to come

    eventually(lambda: ready(shop) == 0, LATER_S)
    assert played.poll() == 0


def test_there_are_as_many_pods_as_instances_wanted_and_the_fallbacks_when_that_is_unknown(
    shop: Shop,
) -> None:
    scale(shop, "worker", 0)  # nobody else decides
    settings = Settings(kafka=shop.around.kafka)
    send(settings, [order("pricing", count=3)])
    eventually(lambda: ready(shop) == 3, SOON_S)

    scale(shop, "keda", 0)  # KEDA knows no metric without it, and changes nothing
    time.sleep(GONE_S)
    assert ready(shop) == 3

    scale(shop, "keda", 1)
    shop.around.broker.stop()
    eventually(lambda: ready(shop) == 2, LATER_S)  # as the example says

    shop.around.broker.launch(tied=True)
    eventually(lambda: ready(shop) == 3, LATER_S)


def scale(shop: Shop, part: str, replicas: int) -> None:
    """Have so many pods of a part, the others gone."""
    shop.kubectl("scale", "deployment", part, f"--replicas={replicas}")
    shop.kubectl("rollout", "status", f"deployment/{part}", "--timeout=90s")
    if not replicas:
        pods = f"--selector=app.kubernetes.io/component={part}"
        shop.kubectl("wait", "--for=delete", "pod", pods, "--timeout=90s")
