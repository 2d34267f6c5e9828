"""The external scaler process: follows the planned instances and answers KEDA."""

from __future__ import annotations

import asyncio
import logging

from streams.adapters.kafka.broker_watch import BrokerWatch
from streams.adapters.metrics import endpoint
from streams.provisioners.core.topic_views import CatalogView, InstanceView
from streams.provisioners.keda.scaler import KedaScaler, WantedInstances, serve
from streams.runtime.access import grpc_certificates
from streams.runtime.tasks import every, first_to_end
from streams.settings import Settings

__all__ = ["run"]

logger = logging.getLogger(__name__)

_READ_S = 0.5


async def run(settings: Settings, listen: str, stop: asyncio.Event) -> None:
    """Serve until `stop` is set."""
    tls = grpc_certificates(settings, listen, "external scaler for KEDA")
    listens = asyncio.Event()
    endpoint.serve("keda", settings.metrics_port, settings.metrics_host, ready=listens.is_set)
    BrokerWatch(settings).start()
    catalog, instances, wanted = CatalogView(settings), InstanceView(settings), WantedInstances()

    async def follow() -> None:
        await catalog.follow()
        await instances.follow()
        if not instances.unreachable:
            wanted.read(instances.all())

    await asyncio.to_thread(catalog.read)
    await asyncio.to_thread(instances.read)
    scaler = KedaScaler(wanted, lambda: catalog.now)
    async with serve(scaler, listen, tls):
        listens.set()
        logger.info("The external scaler for KEDA listens on %s", listen, extra={"action": "open"})
        await first_to_end([every(_READ_S, follow)], stop)
    catalog.close()
    instances.close()
