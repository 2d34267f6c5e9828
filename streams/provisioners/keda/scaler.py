"""KEDA's external scaler: reports the wanted number of instances of each constituent.

The wanted instances are those that a dry run of the provisioner plans from the allocator's commands
and publishes on the topic `instances`. A ScaledObject names its constituent in the metadata of its
trigger: `constituent`, and `pool` where that is not "default". If the number is not known, the
answer is an error, so that KEDA applies the ScaledObject's `fallback`; the metric's name is told all
the same, for without it KEDA would change nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import grpc

from streams.provisioners.keda import externalscaler_pb2 as pb
from streams.provisioners.keda import externalscaler_pb2_grpc as pb_grpc
from streams.records import Instance, InstanceState
from streams.records.catalog import MOST_NAME, Catalog
from streams.runtime.access import Listener
from streams.runtime.grpc_serving import grpc_server
from streams.runtime.printable import printable_line
from streams.runtime.serving import binding
from streams.runtime.wake_signal import WakeSignal

__all__ = ["METRIC", "KedaScaler", "WantedInstances", "serve"]

METRIC = "foremesh-wanted"
_STALE_S = 30.0


class WantedInstances:
    """The wanted number of instances of each constituent, and whether it is current."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.changed = WakeSignal()
        self._clock = clock
        self._counts: Counter[tuple[str, str]] = Counter()
        self._read_s = float("-inf")

    def read(self, instances: Iterable[Instance]) -> None:
        """Count all instances; called with the current content of the topic."""
        ending = {InstanceState.DRAINING, InstanceState.GONE}
        self._counts = Counter(
            (one.pool, one.service) for one in instances if one.state not in ending
        )
        self._read_s = self._clock()
        self.changed.wake()

    @property
    def stale(self) -> bool:
        """Whether the topic has not been read for too long."""
        return self._clock() - self._read_s > _STALE_S

    def of(self, pool: str, service: str) -> int:
        """Return how many are wanted."""
        return self._counts[pool, service]


class KedaScaler(pb_grpc.ExternalScalerServicer):
    """The four calls of `externalscaler.proto`."""

    def __init__(self, wanted: WantedInstances, catalog: Callable[[], Catalog]) -> None:
        self._wanted = wanted
        self._catalog = catalog

    async def IsActive(self, ref: Any, context: Any) -> Any:  # noqa: N802  # named by the protocol
        """Whether any instance is wanted; KEDA scales between zero and one by this."""
        return pb.IsActiveResponse(result=await self._count(ref, context) > 0)

    async def StreamIsActive(  # noqa: N802  # named by the protocol
        self, ref: Any, context: Any
    ) -> AsyncIterator[Any]:
        """Stream the same whenever it changes; the stream ends with an error when it is not known."""
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
        """Return the metric, with a target of one pod for each wanted instance."""
        await self._constituent_of(ref, context)
        spec = pb.MetricSpec(metricName=METRIC, targetSize=1, targetSizeFloat=1.0)
        return pb.GetMetricSpecResponse(metricSpecs=[spec])

    async def GetMetrics(  # noqa: N802  # named by the protocol
        self, request: Any, context: Any
    ) -> Any:
        """Return how many instances are wanted."""
        count = await self._count(request.scaledObjectRef, context)
        value = pb.MetricValue(
            metricName=request.metricName or METRIC, metricValue=count, metricValueFloat=count
        )
        return pb.GetMetricsResponse(metricValues=[value])

    async def _constituent_of(self, ref: Any, context: Any) -> tuple[str, str]:
        """Return pool and constituent of a ScaledObject; `abort` raises."""
        service = ref.scalerMetadata.get("constituent", "")
        pool = ref.scalerMetadata.get("pool", "default")
        catalog, who = self._catalog(), f"ScaledObject {_told(ref.name)}"
        if not service:
            why = f"{who}: its trigger's metadata has no `constituent`"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, why)
        if service not in catalog.constituents:
            why = f"{who}: {_told(service)} is not a constituent in the catalogue"
            await context.abort(grpc.StatusCode.NOT_FOUND, why)
        if not catalog.serves(pool):
            why = f"{who}: {_told(pool)!r} is not a pool in the catalogue"
            await context.abort(grpc.StatusCode.NOT_FOUND, why)
        return pool, service

    async def _count(self, ref: Any, context: Any) -> int:
        pool, service = await self._constituent_of(ref, context)
        if self._wanted.stale:
            why = f"instances have not been read for over {_STALE_S:g} s: is Kafka reachable?"
            await context.abort(grpc.StatusCode.UNAVAILABLE, why)
        return self._wanted.of(pool, service)


def _told(name: str) -> str:
    """A name as a sentence may have it: gRPC carries no long ones, and terminals show them."""
    return printable_line(name[:MOST_NAME])


def _bind(server: grpc.aio.Server, listen: str, tls: tuple[bytes, bytes, bytes] | None) -> int:
    if tls is None:
        return int(server.add_insecure_port(listen))
    *pair, clients_ca = tls
    certificates = grpc.ssl_server_credentials([tuple(pair)], clients_ca, True)
    return int(server.add_secure_port(listen, certificates))


@contextlib.asynccontextmanager
async def serve(
    scaler: KedaScaler, listen: str, tls: tuple[bytes, bytes, bytes] | None = None
) -> AsyncIterator[int]:
    """Serve at an address; yields the port.

    Parameters
    ----------
    scaler, listen
        What to serve, and at which host:port.
    tls
        Key, certificate, and the CA that clients' certificates must be of; None on loopback.
    """
    server = grpc_server()
    pb_grpc.add_ExternalScalerServicer_to_server(scaler, server)
    with binding(Listener(listen, "external scaler for KEDA")):
        port = _bind(server, listen, tls)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(grace=1.0)
