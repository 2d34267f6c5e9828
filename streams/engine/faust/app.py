"""The Faust applications: one per stage, as each is a consumer group, and one that runs them."""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import faust
from faust.app.base import BootStrategy
from faust.types import TP
from mode import ServiceT

from streams.engine.faust.transport import BatchTransport
from streams.engine.faust.versions import check_versions
from streams.engine.stage_runner import StageRunner
from streams.settings import Settings

__all__ = ["STOP_S", "StageApp", "WorkerApp", "run"]

logger = logging.getLogger(__name__)

STOP_S = 20.0  # a worker that was told to stop is killed after so long


class _WorkerBoot(BootStrategy):
    """No web server, which would listen on all addresses, and no Faust producer."""

    enable_web = False
    enable_kafka_producer = False


class _BootWithoutKafka(_WorkerBoot):
    enable_kafka = False


class _FilelessApp(faust.App):
    """A Faust application that leaves no files."""

    BootStrategy = _WorkerBoot

    def __init__(self, name: str, settings: Settings, **options: Any) -> None:
        super().__init__(
            name,
            broker=[f"kafka://{server.strip()}" for server in settings.kafka.split(",")],
            store="memory://",
            topic_allow_declare=False,  # `foremesh topics create` does
            topic_disable_leader=True,  # it would want a topic of its own
            broker_session_timeout=settings.session_ms / 1000,
            broker_heartbeat_interval=settings.session_ms / 1000 / 4,
            broker_request_timeout=max(settings.session_ms, 30_000) / 1000,
            broker_commit_interval=settings.commit_ms / 1000,
            stream_buffer_maxsize=16,  # batches
            stream_wait_empty=True,
            web_enabled=False,
            **options,
        )

    def _create_directories(self) -> None:
        """Nothing: Faust 0.15.3 creates its data directories here (app/base.py:1967)."""


class StageApp(_FilelessApp):
    """One stage: its consumer group and its agent.

    Parameters
    ----------
    broker_options
        Security, in Faust's terms: it keeps the consumer group.
    client_config
        Servers and security, in librdkafka's terms: it fetches.
    """

    def __init__(
        self,
        runner: StageRunner,
        settings: Settings,
        broker_options: Mapping[str, Any],
        client_config: Mapping[str, Any],
    ) -> None:
        check_versions()
        self.owner, self.settings, self.client_config = runner, settings, client_config
        super().__init__(settings.group(runner.row.name), settings, **broker_options)
        names = [settings.topic(name) for name in runner.row.reads]
        # Faust 0.15.3: the raw codec passes bytes through unchanged (serializers).
        channel = self.topic(*names, value_type=bytes, value_serializer="raw")
        self.agent(channel, name=runner.row.name)(self._agent)

    @property
    def shortlabel(self) -> str:
        """What stands for it in the lines of the log: the stage."""
        return self.owner.row.name

    def _new_transport(self) -> BatchTransport:
        # Faust 0.15.3, app/base.py:1932: by the scheme of the broker's URL.
        return BatchTransport(self.conf.broker_consumer, self)

    async def _agent(self, batches: Any) -> None:
        async for batch in batches:
            await self.owner.take(batch)

    async def on_start(self) -> None:
        """Start the runner."""
        await super().on_start()
        self.owner.start(self._rewind, self.crash)

    async def _rewind(self, tp: TP, offset: int) -> None:
        consumer: Any = self.consumer
        await consumer.rewind(tp, offset)

    async def on_shutdown(self) -> None:
        """Stop the runner, after everything else."""
        await super().on_shutdown()
        await self.owner.stop()


class WorkerApp(_FilelessApp):
    """Starts and stops the stages of one worker."""

    BootStrategy = _BootWithoutKafka

    def __init__(self, stages: Iterable[StageApp], settings: Settings) -> None:
        self.stages = list(stages)
        super().__init__(f"{settings.prefix}foremesh", settings)

    def on_init_dependencies(self) -> Iterable[ServiceT]:
        """Faust 0.15.3 starts what this returns, and stops it in reverse (app/base.py:703)."""
        return self.stages

    async def stop(self) -> None:
        """Stop within `STOP_S`: Faust may hang on a broker that does not answer (#501)."""
        guard = threading.Timer(STOP_S, _end)
        guard.daemon = True
        guard.start()
        await super().stop()


def run(app: WorkerApp) -> NoReturn:
    """Run a worker in this process until SIGTERM or SIGINT; exits."""
    # Modules stay in memory: a collection that scans them would block all stages for .2 s.
    gc.collect()
    gc.freeze()
    for chatty in ("aiokafka", "faust", "mode"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    worker = faust.Worker(
        app,
        loglevel=logging.getLogger().level,
        redirect_stdouts=False,
        override_logging=False,
        quiet=True,
    )
    worker.spinner = None  # it writes to standard output for a terminal, also where that is a file
    worker.execute_from_commandline()


def _end() -> None:
    logger.error(
        "The worker did not stop within %.0f s and is killed; unsaved records are processed again",
        STOP_S,
        extra={"action": "worker_ended"},
    )
    os._exit(1)
