"""The provisioner process: consumes commands, publishes instances and utilisation, serves HTTP."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator

from aiohttp import web
from confluent_kafka import Consumer, Message

from streams.adapters.avro import codec
from streams.adapters.kafka.broker_watch import BrokerWatch
from streams.adapters.kafka.clients import (
    client_here,
    commit_read,
    consumer_config,
    producer_config,
)
from streams.adapters.metrics import endpoint
from streams.adapters.metrics.table import DEAD_LETTERS
from streams.broker.refusal import denied, is_denied
from streams.engine.producer import CheckedProducer
from streams.errors import DeliveryFailed
from streams.flow.components import COMPONENTS, POOL_GROUP
from streams.flow.topology import key_of, topic_of
from streams.provisioners.core.figures import InstanceFigures, tell_room
from streams.provisioners.core.http_api import application
from streams.provisioners.core.interface import Provisioner, ProvisionerLimits
from streams.provisioners.core.topic_views import CatalogView, all_instances
from streams.records import Command, DeadLetter, Instance, InstanceState, Record
from streams.records.catalog import Catalog
from streams.runtime.access import Listener, processes_guard
from streams.runtime.clock import wall_ms
from streams.runtime.serving import HTTP_LOG, serving
from streams.runtime.tasks import every, first_to_end
from streams.settings import Settings
from streams.stages.admission import admit_command
from streams.stages.base import RecordUnusable, StepContext
from streams.tracing.opening import tracer_of
from streams.tracing.traceparent import place_of, traceparent_of

__all__ = ["ProvisionerProcess"]

logger = logging.getLogger(__name__)

ProvisionerFactory = Callable[
    [str, Callable[[], Catalog], Callable[[Instance], None], ProvisionerLimits], Provisioner
]

_POLL_S = 0.1
_SWEEP_S = 0.1
_CATALOG_S = 5.0  # also read before each batch of commands
_BATCH = 500  # commands carried out between two commits of offsets
_FORGET_MS = 15 * 60_000  # late requests still look up the records of gone instances


class ProvisionerProcess:
    """Connects the provisioner of one pool to Kafka and to its HTTP API.

    Parameters
    ----------
    settings
        How to reach Kafka.
    pool
        The pool whose commands are carried out.
    limits
        Bounds and timeouts of the provisioner.
    factory
        Makes the provisioner, given the pool, the catalogue, the publisher of records, the limits.
    check
        Called before anything else, in a thread while it is told that Kafka is away; raises if the
        pool is not to be provisioned here.
    """

    def __init__(
        self,
        settings: Settings,
        pool: str,
        limits: ProvisionerLimits,
        factory: ProvisionerFactory,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._check = check
        self._broker = BrokerWatch(settings)
        self._producer = CheckedProducer(producer_config(settings))
        config = consumer_config(settings, settings.group(POOL_GROUP + pool))
        self._consumer = Consumer({**config, "client.id": client_here()})
        self._consumer_lock = threading.Lock()
        self._catalog = CatalogView(settings)
        self._republish = self._denied = False
        self._dead_letters: list[DeadLetter] = []  # sent, and not known to be delivered
        self._left: deque[Instance] = deque()  # gone ones of earlier provisioners, oldest first
        self._listens = asyncio.Event()
        self._guard = processes_guard(settings)
        self._tracer = tracer_of(settings, "provision")
        self.provisioner = factory(pool, lambda: self._catalog.now, self._publish, limits)
        self._figures = InstanceFigures(self.provisioner.instances, lambda: self._catalog.now)

    def watch(self) -> None:
        """Serve metrics, and begin to look whether Kafka answers: also while another one leads."""
        port, host = self._settings.metrics_port, self._settings.metrics_host
        endpoint.serve("provision", port, host, ready=self._listens.is_set)
        self._broker.start()

    async def run(self, at: Listener, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then close the provisioner."""
        endpoint.before_scrape(self._figures.tell)
        known = await asyncio.to_thread(self._prepare)
        self._figures.begin(known)
        await self.provisioner.open(known)
        app = application(self.provisioner, self._guard, self._broker)
        runner = web.AppRunner(app, access_log=None, logger=HTTP_LOG)
        try:
            await serving(runner, at, lambda: self._serve(stop))
        finally:
            await self.provisioner.close()
            await asyncio.to_thread(self._close)

    def _serve(self, stop: asyncio.Event) -> Awaitable[None]:
        self._listens.set()
        return first_to_end(self._work(), stop)

    def _work(self) -> list[Awaitable[None]]:
        """Return the tasks of the process; when one fails, the process ends."""
        return [
            self._follow_commands(),
            every(_SWEEP_S, self._sweep),
            every(_CATALOG_S, self._catalog.follow),
            every(max(1.0, self._settings.tick_ms / 1000), self._measure),
        ]

    def _prepare(self) -> list[Instance]:
        """Subscribe; read the catalogue and return the instances that a predecessor left."""
        self._check()
        self._catalog.read()
        if problem := self._catalog.now.lacks_pool(self._pool):
            logger.warning("%s", problem, extra={"action": "pool_unknown"})
        ours = [one for one in all_instances(self._settings) if one.pool == self._pool]
        gone = [one for one in ours if one.state is InstanceState.GONE]
        self._left.extend(sorted(gone, key=_gone_ms))
        reads = COMPONENTS["provision"].reads
        self._consumer.subscribe([self._settings.topic(name) for name in reads])
        return [one for one in ours if one.state is not InstanceState.GONE]

    # ------------------------------------------------------------------ commands

    async def _follow_commands(self) -> None:
        while True:
            messages = await asyncio.to_thread(self._poll)
            if messages:
                await self._catalog.follow()
            for message in messages:
                await self._take_traced(message)
            # Commit offsets last: the records that the commands caused must be on Kafka first.
            # Instances change without commands as well: what was not delivered is to be noticed.
            if await asyncio.to_thread(self._flush) and messages:
                await asyncio.to_thread(commit_read, self._consumer, messages)

    def _poll(self) -> list[Message]:
        with self._consumer_lock:
            first = self._consumer.poll(_POLL_S)
            if first is None:
                return []
            return list(filter(self._readable, [first, *self._consumer.consume(_BATCH, 0)]))

    def _readable(self, message: Message) -> bool:
        """Whether it is a record; what the broker denies is told once, and instances stay."""
        error = message.error()
        if error is not None and is_denied(error) and not self._denied:
            logger.error("%s", denied(error), extra={"action": "denied"})
        self._denied = error is not None and is_denied(error)
        return error is None

    async def _take_traced(self, message: Message) -> None:
        """Take a message, in a span if it carries a trace."""
        parent = traceparent_of(message.headers()) if self._tracer else b""
        if self._tracer is None or not parent:
            await self._take(message)
            return
        place = place_of(message, self._settings.group(POOL_GROUP + self._pool))
        with self._tracer.processing("provisioner", place, parent):
            await self._take(message)

    async def _take(self, message: Message) -> None:
        try:
            command = _command_of(message)
        except (codec.RecordUndecodable, RecordUnusable) as error:
            DEAD_LETTERS.labels(getattr(error, "kind", "undecodable")).inc()
            letter = _dead_letter(message, str(error), self._settings.prefix)
            self._dead_letters.append(letter)
            self._send(letter)
            return
        if command.pool == self._pool:
            result = await self.provisioner.carry_out(command)
            self._figures.commanded(command, result)
            extra = {"action": "command", "command": command.command_id}
            logger.debug("Command %s %s", command.command_id, result, extra=extra)

    # ------------------------------------------------------------------ records

    def _send(self, record: Record) -> None:
        topic = self._settings.topic(topic_of(record))
        headers = self._tracer.carried() if self._tracer else None
        self._producer.send(topic, key_of(record), codec.encode(record), headers=headers)

    def _publish(self, instance: Instance) -> None:
        self._figures.changed(instance)
        self._send(instance)

    def _flush(self) -> bool:
        """Wait for delivery; whether all arrived. If not, every record will be published again."""
        try:
            self._producer.flush(self._settings.delivery_ms / 1000)
        except DeliveryFailed as error:
            logger.warning("%s", error, extra={"action": "delivery_failed"})
            self._republish = True
            for letter in self._dead_letters:
                self._send(letter)
            return False
        self._dead_letters.clear()
        return True

    def _close(self) -> None:
        # A cancelled task leaves its thread in `poll`, which would consume the revocation that
        # `close` waits for.
        with self._consumer_lock:
            self._consumer.close()
        self._flush()
        self._catalog.close()  # its thread may be in a read, which the process would wait for

    async def _sweep(self) -> None:
        self.provisioner.sweep()
        topic = self._settings.topic("instances")
        for instance in self._forgettable(wall_ms() - _FORGET_MS):
            self._producer.send(topic, key_of(instance), None)
        if self._republish:
            self._republish = False
            self.provisioner.republish()

    def _forgettable(self, before_ms: int) -> Iterator[Instance]:
        """Yield, once, the instances gone before a time: their records may be deleted."""
        yield from self.provisioner.forget_gone(before_ms)
        while self._left and _gone_ms(self._left[0]) < before_ms:
            yield self._left.popleft()

    async def _measure(self) -> None:
        utilisation = self.provisioner.utilisation()
        self._figures.pass_time(utilisation.at_ms)
        tell_room(utilisation)
        self._send(utilisation)


def _gone_ms(instance: Instance) -> int:
    return instance.gone_ms or 0


def _command_of(message: Message) -> Command:
    record = codec.decode(message.value() or b"")
    if not isinstance(record, Command):
        raise codec.RecordUndecodable(f"is a {type(record).__name__}, not a Command")
    admit_command(record, StepContext(record_ms=message.timestamp()[1]))
    return record


def _dead_letter(message: Message, reason: str, prefix: str) -> DeadLetter:
    _, at_ms = message.timestamp()
    return DeadLetter.of(
        message.key(),
        message.value(),
        topic=(message.topic() or "").removeprefix(prefix),
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        stage="provisioner",
        reason=reason,
        at_ms=at_ms,
    )
