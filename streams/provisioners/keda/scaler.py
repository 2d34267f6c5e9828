"""KEDA's external scaler: how many instances of each constituent are wanted, for its autoscalers.

Wanted are the instances that a dry run of the provisioner plans from the allocator's commands; they
are on the topic `instances`. A ScaledObject names what it scales in its trigger's metadata:
`constituent`, and `pool` where that is not "default". What cannot be known is an error and never a
number, so that KEDA falls back as its `fallback` says.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import grpc

from streams.provisioners.core.start_queue import WakeSignal
from streams.provisioners.keda import externalscaler_pb2 as pb
from streams.provisioners.keda import externalscaler_pb2_grpc as pb_grpc
from streams.records import Instance, InstanceState

__all__ = ["METRIC", "KedaScaler", "WantedInstances", "serve"]

METRIC = "foremesh-wanted"
_STALE_S = 30.0


class WantedInstances:
    """How many instances of each constituent a pool is to have, and whether that is of now."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.changed = WakeSignal()
        self._clock = clock
        self._counts: Counter[tuple[str, str]] = Counter()
        self._read_s = float("-inf")

    def read(self, instances: Iterable[Instance]) -> None:
        """Take in all instances, as the topic stands now."""
        ending = {InstanceState.DRAINING, InstanceState.GONE}
        self._counts = Counter(
            (one.pool, one.service) for one in instances if one.state not in ending
        )
        self._read_s = self._clock()
        self.changed.now()

    @property
    def stale(self) -> bool:
        """Whether the topic could not be read for too long."""
        return self._clock() - self._read_s > _STALE_S

    def of(self, pool: str, service: str) -> int:
        """How many are wanted."""
        return self._counts[pool, service]


class KedaScaler(pb_grpc.ExternalScalerServicer):
    """The four calls of `externalscaler.proto`."""

    def __init__(self, wanted: WantedInstances, known: Callable[[str], bool]) -> None:
        self._wanted = wanted
        self._known = known

    async def IsActive(self, ref: Any, context: Any) -> Any:  # noqa: N802  # named by the protocol
        """Whether any instance is wanted: KEDA goes from none to one, or to none, by this."""
        return pb.IsActiveResponse(result=await self._count(ref, context) > 0)

    async def StreamIsActive(  # noqa: N802  # named by the protocol
        self, ref: Any, context: Any
    ) -> AsyncIterator[Any]:
        """The same, pushed whenever it changes; the stream breaks when it cannot be known."""
        last = None
        while True:
            now = await self._count(ref, context) > 0
            if now != last:
                yield pb.IsActiveResponse(result=now)
                last = now
            await self._wanted.changed.wait(_STALE_S)

    async def GetMetricSpec(  # noqa: N802  # named by the protocol
        self, ref: Any, context: Any
    ) -> Any:
        """One pod for each instance that is wanted."""
        await self._named(ref, context)
        spec = pb.MetricSpec(metricName=METRIC, targetSize=1, targetSizeFloat=1.0)
        return pb.GetMetricSpecResponse(metricSpecs=[spec])

    async def GetMetrics(  # noqa: N802  # named by the protocol
        self, request: Any, context: Any
    ) -> Any:
        """How many instances are wanted."""
        count = await self._count(request.scaledObjectRef, context)
        value = pb.MetricValue(
            metricName=request.metricName or METRIC, metricValue=count, metricValueFloat=count
        )
        return pb.GetMetricsResponse(metricValues=[value])

    async def _named(self, ref: Any, context: Any) -> tuple[str, str]:
        service = ref.scalerMetadata.get("constituent", "")
        if not service:
            said = f"ScaledObject {ref.name}: its trigger's metadata has no `constituent`"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, said)
        if not self._known(service):
            said = f"ScaledObject {ref.name}: {service} is no constituent of the catalogue"
            await context.abort(grpc.StatusCode.NOT_FOUND, said)
        return ref.scalerMetadata.get("pool", "default"), service

    async def _count(self, ref: Any, context: Any) -> int:
        named = await self._named(ref, context)
        if self._wanted.stale:
            said = f"the instances have not been read for {_STALE_S:g} s: is Kafka away?"
            await context.abort(grpc.StatusCode.UNAVAILABLE, said)
        return self._wanted.of(*named)


@contextlib.asynccontextmanager
async def serve(scaler: KedaScaler, listen: str) -> AsyncIterator[int]:
    """Serve on an address; gives the port."""
    server = grpc.aio.server()
    pb_grpc.add_ExternalScalerServicer_to_server(scaler, server)
    port: int = server.add_insecure_port(listen)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(grace=1.0)
