"""The access log service: publishes the requests that Envoy has served, and their outcomes.

Requests never wait for it. Entries that cannot be kept while Kafka is unreachable are dropped and
counted.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc

from streams.adapters.avro import codec
from streams.adapters.kafka.broker_watch import BrokerWatch
from streams.adapters.kafka.clients import producer_config
from streams.adapters.metrics import endpoint
from streams.adapters.metrics.outcomes import count
from streams.adapters.metrics.table import EVENTS_WAITING, LOG_ENTRIES
from streams.records import Instance
from streams.request_path.core.event_buffer import EventBuffer
from streams.request_path.core.provisioner_client import ProvisionerClient
from streams.request_path.core.start_up_times import StartUpTimes
from streams.request_path.core.topic_watch import CatalogAndInstanceWatch
from streams.request_path.envoy.access_log_entries import (
    AccessLogEntry,
    EntryUnusable,
    read_entry,
    records_of,
)
from streams.request_path.envoy.access_log_messages import add_access_log_service
from streams.request_path.envoy.addresses import MeshAddresses
from streams.request_path.envoy.clusters import is_exclusive
from streams.request_path.envoy.routes import EDGE
from streams.request_path.envoy.usage import UsageCounter
from streams.runtime.access import loopback_only
from streams.runtime.grpc_serving import grpc_server
from streams.runtime.serving import binding
from streams.runtime.tasks import every, first_to_end
from streams.settings import Settings

__all__ = ["AccessLogService", "serve_access_log"]

logger = logging.getLogger(__name__)

_entries = functools.cache(LOG_ENTRIES.labels)  # looking it up costs more than counting
_KEEP_MS = 300_000  # how long an event is kept while Kafka is unreachable,
_KEEP = 100_000  # and how many are
# librdkafka polls without a pause at the end of each wait, and Kafka works by the batch: without a
# linger this was half of the cost of an entry. Envoy gathers entries anyhow (`log_flush_ms`).
_LINGER_MS = 25
_NICE = 10  # it yields the processor to what serves requests
_POLL_S = 0.02
_USE_S = 0.25
_STOP_S = 1.0


async def serve_access_log(
    settings: Settings, addresses: MeshAddresses, pool: str, stop: asyncio.Event
) -> None:
    """Receive entries from any number of Envoys until `stop` is set, then flush the events.

    Parameters
    ----------
    settings
        Where Kafka and the provisioner are.
    addresses
        Where to listen.
    pool
        The pool of the requests.
    stop
        Ends the process.
    """
    at = loopback_only(addresses.log, "access log service")
    listens = asyncio.Event()
    endpoint.serve("mesh log", settings.metrics_port, settings.metrics_host, ready=listens.is_set)
    BrokerWatch(settings).start()
    os.nice(_NICE)
    watch = await CatalogAndInstanceWatch.open(settings, patient=True)  # for start-up times
    waits = {"delivery.timeout.ms": _KEEP_MS, "linger.ms": _LINGER_MS}
    config = {**producer_config(settings), **waits}
    events = EventBuffer(config, codec.encode, settings.topic, limit=_KEEP)
    endpoint.before_scrape(lambda: EVENTS_WAITING.set(len(events)))
    service = AccessLogService(watch, events, pool)
    service.observe(watch.take_changed())
    server = grpc_server()
    add_access_log_service(service, server)
    with binding(at):
        server.add_insecure_port(at.address)
    async with aiohttp.ClientSession() as session:
        await server.start()
        listens.set()
        logger.info("The access log service listens on %s", at.address, extra={"action": "open"})
        provisioner = ProvisionerClient(session, settings)
        work = [
            watch.follow_catalog(),
            watch.follow_instances(service.observe),
            every(_POLL_S, events.poll),
            every(_USE_S, lambda: service.report_use(provisioner)),
        ]
        try:
            await first_to_end(work, stop)
        finally:
            await server.stop(_STOP_S)
    lost = await asyncio.to_thread(events.flush, settings.delivery_ms / 1000)
    counts = dict(service.counts)
    extra = {"action": "log_closed", "lost": lost, **counts}
    logger.info("%d records were lost; entries by kind: %s", lost, counts, extra=extra)
    watch.close()


class AccessLogService(als_pb2_grpc.AccessLogServiceServicer):  # type: ignore[misc]  # untyped
    """Turns entries of Envoy's access log into requests, outcomes and reports of use.

    Parameters
    ----------
    watch
        The catalogue.
    events
        Takes the records.
    pool
        The pool of the requests.
    """

    def __init__(self, watch: CatalogAndInstanceWatch, events: EventBuffer, pool: str) -> None:
        self._watch = watch
        self._events = events
        self._pool = pool
        self._start_up_times = StartUpTimes()
        self._usage = UsageCounter()
        self.counts: Counter[str] = Counter()  # entries by what became of them

    async def StreamAccessLogs(  # noqa: N802  # named by the protocol
        self, messages: AsyncIterator[Any], context: Any
    ) -> Any:
        """Receive the entries of one worker thread of an Envoy."""
        del context
        name = ""
        async for message in messages:
            name = message.identifier.log_name or name  # only the first message has it
            for entry in message.http_logs.log_entry:
                self._take(name, read_entry(entry))
        return als_pb2.StreamAccessLogsResponse()

    def observe(self, changed: list[Instance]) -> None:
        """Measure start-up times."""
        for instance in changed:
            self._start_up_times.observe(instance)

    async def report_use(self, provisioner: ProvisionerClient) -> None:
        """Report use to the provisioner; what does not arrive is added to the next report."""
        self._usage.restore(await provisioner.report(self._usage.collect()))

    def _take(self, name: str, entry: AccessLogEntry) -> None:
        if entry.warm and not self._is_exclusive(entry.constituent):
            self._usage.add(entry.instance_id, entry.serve_ms)
        became = "inner" if name != EDGE else self._publish(entry)
        self.counts[became] += 1
        _entries(became).inc()

    def _publish(self, entry: AccessLogEntry) -> str:
        try:
            request, outcome = records_of(
                entry, self._watch.catalog, self._start_up_times, self._pool
            )
        except EntryUnusable as error:
            logger.debug("%s: %s", entry.path, error)
            return "unusable"
        self._events.put(request)
        self._events.put(outcome)
        count(outcome)
        return "told"

    def _is_exclusive(self, name: str) -> bool:
        constituent = self._watch.catalog.constituents.get(name)
        return constituent is not None and is_exclusive(constituent)
