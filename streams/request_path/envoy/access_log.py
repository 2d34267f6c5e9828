"""The access log service: what Envoy has served goes to Kafka.

Requests never wait for it. What cannot be kept while Kafka is away is dropped and counted.
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
import grpc
from envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc
from prometheus_client import Counter as Metric

from streams.adapters import metrics
from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.records import Instance
from streams.request_path.core.event_buffer import EventBuffer
from streams.request_path.core.start_up_times import StartUpTimes
from streams.request_path.core.topic_watch import CatalogAndInstanceWatch
from streams.request_path.envoy.access_log_entries import (
    AccessLogEntry,
    EntryUnusable,
    read_entry,
    records_of,
)
from streams.request_path.envoy.addresses import MeshAddresses
from streams.request_path.envoy.clusters import is_exclusive
from streams.request_path.envoy.routes import EDGE
from streams.request_path.envoy.usage import UsageCounter
from streams.runtime.tasks import every, first_to_end
from streams.settings import Settings

__all__ = ["AccessLogService"]

logger = logging.getLogger(__name__)

ENTRIES = Metric(
    "foremesh_log_entries_total",
    "Entries of Envoy's access log, by what became of them (told, unusable, inner).",
    ["became"],
)
# To look a metric up by its labels costs more than to count.
_entries = functools.cache(ENTRIES.labels)
_requests = functools.cache(metrics.REQUESTS.labels)
_seconds = functools.cache(metrics.REQUEST_SECONDS.labels)
_KEEP_MS = 300_000  # an event is kept so long while Kafka is away,
_KEEP = 100_000  # and so many of them
# librdkafka polls without a pause at the end of each wait, and Kafka's work is by the batch: half
# of what an entry cost was that. It is late by what Envoy gathers (`log_flush_ms`) anyhow.
_LINGER_MS = 25
_NICE = 10  # what it has to do can wait for what serves requests
_POLL_S = 0.02
_USE_S = 0.25
_END_S = 1.0


class AccessLogService(als_pb2_grpc.AccessLogServiceServicer):  # type: ignore[misc]  # untyped
    """Takes entries of any number of Envoys in.

    Parameters
    ----------
    settings
        Where Kafka and the provisioner are.
    places
        Where to listen.
    pool
        Whose requests these are.
    """

    def __init__(self, settings: Settings, places: MeshAddresses, pool: str) -> None:
        self._settings = settings
        self._places = places
        self._pool = pool
        self._watch = CatalogAndInstanceWatch(settings, patient=True)  # start-up times are no haste
        self._warm_ups = StartUpTimes()
        waits = {"delivery.timeout.ms": _KEEP_MS, "linger.ms": _LINGER_MS}
        config = {**producer_config(settings), **waits}
        self._events = EventBuffer(config, codec.encode, settings.topic, most=_KEEP)
        self._usage = UsageCounter(settings.provisioner)
        self._counts: Counter[str] = Counter()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; then tell Kafka what is left."""
        metrics.serve(self._settings.metrics_port)
        os.nice(_NICE)
        await self._watch.open()
        self._observe(self._watch.news())
        server = grpc.aio.server()
        als_pb2_grpc.add_AccessLogServiceServicer_to_server(self, server)
        server.add_insecure_port(self._places.log)
        async with aiohttp.ClientSession() as session:
            await server.start()
            logger.info("Envoys log to %s", self._places.log, extra={"action": "open"})
            work = [
                self._watch.follow_catalog(),
                self._watch.follow_instances(self._observe),
                every(_POLL_S, self._poll),
                every(_USE_S, lambda: self._usage.report(session)),
            ]
            try:
                await first_to_end(work, stop)
            finally:
                await server.stop(_END_S)
        lost = await asyncio.to_thread(self._events.flush, self._settings.delivery_ms / 1000)
        told = {"action": "log_closed", "lost": lost, **self._counts}
        logger.info("%d records were lost; entries: %s", lost, dict(self._counts), extra=told)
        self._watch.close()

    async def StreamAccessLogs(  # noqa: N802  # named by the protocol
        self, messages: AsyncIterator[Any], context: Any
    ) -> Any:
        """Take in what one Envoy's worker logs."""
        del context
        name = ""
        async for message in messages:
            name = message.identifier.log_name or name  # stands in the first one only
            for told in message.http_logs.log_entry:
                self._take(name, read_entry(told))
        return als_pb2.StreamAccessLogsResponse()

    def _take(self, name: str, entry: AccessLogEntry) -> None:
        if entry.warm and not self._is_leased(entry.constituent):
            self._usage.add(entry.instance_id, entry.serve_ms)
        self._count("inner" if name != EDGE else self._tell(entry))

    def _tell(self, entry: AccessLogEntry) -> str:
        try:
            asked, outcome = records_of(entry, self._watch.catalog, self._warm_ups, self._pool)
        except EntryUnusable as error:
            logger.debug("%s: %s", entry.path, error)
            return "unusable"
        self._events.put(asked)
        self._events.put(outcome)
        _requests(outcome.result, outcome.route).inc()
        _seconds(outcome.result).observe(entry.latency_ms / 1000)
        return "told"

    def _count(self, became: str) -> None:
        self._counts[became] += 1
        _entries(became).inc()

    def _is_leased(self, service: str) -> bool:
        found = self._watch.catalog.constituents.get(service)
        return found is not None and is_exclusive(found)

    def _observe(self, news: list[Instance]) -> None:
        for instance in news:
            self._warm_ups.observe(instance)

    async def _poll(self) -> None:
        self._events.poll()
