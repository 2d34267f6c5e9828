"""KEDA's side is played by a client that protoc makes from the .proto, over real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from harness import CHECKOUT
from pools import constituent

from streams.provisioners.keda import externalscaler_pb2
from streams.provisioners.keda.scaler import METRIC, KedaScaler, WantedInstances, serve
from streams.records import Instance, InstanceState
from streams.records.catalog import Catalog, CatalogEntry, Pool, Resources

PROTO = CHECKOUT / "streams" / "provisioners" / "keda" / "externalscaler.proto"


def instance(name: str, service: str = "pay", *, state: str = "warm", pool: str = "p") -> Instance:
    return Instance(
        instance_id=name,
        service=service,
        pool=pool,
        state=InstanceState(state),
        endpoint="",
        command_id="c1",
        started_ms=0,
        changed_ms=0,
    )


@asynccontextmanager
async def asked(wanted: WantedInstances) -> AsyncIterator[Any]:
    """A stub of KEDA's own kind."""
    stubs: Any = grpc.services("externalscaler.proto")
    pools = [Pool(pool=name, capacity=Resources(cpu=8.0)) for name in "pq"]
    entries: list[CatalogEntry] = [constituent("pay"), constituent("stock"), *pools]
    scaler = KedaScaler(wanted, lambda: Catalog.of(entries))
    async with (
        serve(scaler, "127.0.0.1:0") as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield stubs.ExternalScalerStub(channel)


def ref(**metadata: str) -> Any:
    return externalscaler_pb2.ScaledObjectRef(name="so", namespace="shop", scalerMetadata=metadata)


PAY = {"constituent": "pay", "pool": "p"}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROTO.parent))


async def value(stub: Any, **metadata: str) -> float:
    question = externalscaler_pb2.GetMetricsRequest(scaledObjectRef=ref(**metadata))
    (found,) = (await stub.GetMetrics(question)).metricValues
    assert found.metricName == METRIC
    assert found.metricValue == found.metricValueFloat
    return float(found.metricValueFloat)


async def test_the_metric_is_the_number_of_instances_that_are_to_be_there() -> None:
    wanted = WantedInstances()
    others = [instance("o1", "stock"), instance("o2", pool="q")]
    leaving = [instance("i3", state="draining"), instance("i4", state="gone")]
    wanted.read([instance("i1"), instance("i2", state="starting"), *others, *leaving])
    async with asked(wanted) as stub:
        assert await value(stub, **PAY) == 2
        assert (await stub.IsActive(ref(**PAY))).result
        (spec,) = (await stub.GetMetricSpec(ref(**PAY))).metricSpecs
        assert (spec.metricName, spec.targetSize, spec.targetSizeFloat) == (METRIC, 1, 1.0)


async def test_a_constituent_that_nobody_wants_is_not_active() -> None:
    wanted = WantedInstances()
    wanted.read([])
    async with asked(wanted) as stub:
        assert not (await stub.IsActive(ref(**PAY))).result
        assert await value(stub, **PAY) == 0


async def test_activity_is_pushed_when_it_changes_and_only_then() -> None:
    wanted = WantedInstances()
    wanted.read([])
    async with asked(wanted) as stub:
        stream = stub.StreamIsActive(ref(**PAY))
        pushed = [(await stream.read()).result]
        for instances in ([instance("i1")], [instance("i1"), instance("i2")], []):
            wanted.read(instances)
            await asyncio.sleep(0.02)
        pushed += [(await stream.read()).result for _ in range(2)]
        stream.cancel()

        assert pushed == [False, True, False]


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"constituent": "nobody"}, grpc.StatusCode.NOT_FOUND),
        ({"constituent": "n" * 20_000}, grpc.StatusCode.NOT_FOUND),
        ({"constituent": "pay", "pool": "defualt"}, grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_a_scaled_object_that_names_no_constituent_or_pool_is_told_so(
    metadata: dict[str, str], code: grpc.StatusCode
) -> None:
    wanted = WantedInstances()
    wanted.read([])
    async with asked(wanted) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.GetMetricSpec(ref(**metadata))

        assert error.value.code() is code
        assert "ScaledObject so" in error.value.details()


async def test_names_in_an_error_turn_no_terminal() -> None:
    wanted = WantedInstances()
    wanted.read([])
    async with asked(wanted) as stub:
        with pytest.raises(grpc.aio.AioRpcError, match=r"a\\u001b\[2J\\nb is not a constituent"):
            await stub.GetMetricSpec(ref(constituent="a\x1b[2J\nb"))


async def test_what_is_not_known_is_an_error_so_that_keda_falls_back() -> None:
    now_s = 0.0
    wanted = WantedInstances(lambda: now_s)
    wanted.read([instance("i1")])
    async with asked(wanted) as stub:
        now_s = 31.0
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await value(stub, **PAY)

        assert error.value.code() is grpc.StatusCode.UNAVAILABLE


def test_the_messages_are_those_of_the_proto(tmp_path: Any) -> None:
    from grpc_tools import protoc  # noqa: PLC0415

    assert protoc.main(["", f"-I{PROTO.parent}", f"--python_out={tmp_path}", PROTO.name]) == 0
    made, kept = (
        (folder / "externalscaler_pb2.py").read_text() for folder in (tmp_path, PROTO.parent)
    )

    assert made == kept
