"""A single-node Kafka (KRaft) as a child process."""

from __future__ import annotations

import base64
import os
import signal
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.devstack import class_archive, tools
from streams.devstack.child import ServerProcess, run, until
from streams.errors import StackFailed
from streams.runtime.ports import free_ports, kept_port

__all__ = ["KafkaServer"]

START_S = 120.0  # 4 s on an idle machine
STOP_S = 30.0  # it may write its classes
TRIES = 3  # a port that was free may be taken before the broker binds it

PROPERTIES: Mapping[str, object] = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "message.max.bytes": 3 * 1024 * 1024,
    "num.network.threads": 2,
    "num.io.threads": 4,
    # A single node: no replication, and few consumer groups.
    "offsets.topic.num.partitions": 4,
    "offsets.topic.replication.factor": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "transaction.state.log.num.partitions": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    # Groups form and fail over without delay.
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    # Compaction runs within seconds; many small topics stay cheap.
    "log.cleaner.enable": "true",
    "log.cleaner.backoff.ms": 1000,
    "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
    "log.index.size.max.bytes": 1024 * 1024,
    "log.segment.delete.delay.ms": 1000,
    # Nobody waits for signs of life of the only controller: a third of what an idle broker takes.
    "metadata.max.idle.interval.ms": 0,
}


class KafkaServer:
    """A broker that keeps its data, log and pid below `folder`.

    Parameters
    ----------
    build
        Directory of Kafka's jars, which are fetched when missing.
    listeners
        Additional listeners, each `NAME://host:port`; the plaintext one is at `address`.
    properties
        Additional server properties, including those that the listeners need.
    java
        Further options of Java, such as the configuration of its log.
    """

    def __init__(
        self,
        folder: Path,
        build: Path,
        *,
        listeners: Iterable[str] = (),
        properties: Mapping[str, object] | None = None,
        java: Iterable[str] = (),
    ) -> None:
        self._listeners, self._properties = tuple(listeners), properties or {}
        self._options = tuple(java)
        self._folder = folder.absolute()
        self._build = build
        self.child = ServerProcess("Kafka", self._folder)
        self._tied = False

    @property
    def address(self) -> str:
        """The bootstrap server as host:port."""
        return (self._folder / "address").read_text()

    def launch(self, *, tied: bool) -> None:
        """Start it, unless it is running; `tied`: it ends with the calling thread."""
        if self.child.pid:
            return
        self._tied = tied
        self._folder.mkdir(parents=True, exist_ok=True)
        properties = self._configure()
        if not (self._folder / "data" / "meta.properties").exists():
            self._format(properties)
        heap = ["-Xmx512M", f"-Djava.io.tmpdir={self._folder}"]
        argv = self._java([*heap, "kafka.Kafka", str(properties)], writer=self._folder)
        self.child.start(argv, death_signal=signal.SIGKILL if tied else 0, env=_env())

    def wait(self) -> None:
        """Wait until it serves metadata; its port opens earlier than that."""
        for left in reversed(range(TRIES)):
            try:
                until(self._serves, self.child, START_S)
            except StackFailed:
                if not left or "Address already in use" not in self.child.log_end(200):
                    raise
                self.launch(tied=self._tied)
            else:
                return

    def stop(self) -> bool:
        """Stop it; returns, once it is gone, whether it was running."""
        began = time.monotonic()
        ran = self.child.stop(signal.SIGTERM, STOP_S)
        whole = ran and time.monotonic() - began < STOP_S  # else it was killed
        class_archive.keep(tools.jars_of(self._build), self._folder, whole=whole)
        return ran

    def _serves(self) -> bool:
        """Whether this broker answers, and not another one that took its port first."""
        client = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        try:
            metadata = client.list_topics(timeout=1)
        except KafkaException:
            return False
        ours = (self._folder / "data" / "meta.properties").read_text()
        return bool(metadata.brokers) and f"cluster.id={metadata.cluster_id}" in ours.split()

    def _configure(self) -> Path:
        other, controller = free_ports(2)
        port = kept_port(self._folder / "address") or other
        listeners = ",".join((f"PLAINTEXT://127.0.0.1:{port}", *self._listeners))
        values = {
            **PROPERTIES,
            **self._properties,
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": listeners,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": self._folder / "data",
        }
        path = self._folder / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        (self._folder / "address").write_text(f"127.0.0.1:{port}")
        return path

    def _format(self, properties: Path) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        options = ["--cluster-id=" + cluster, "--config", str(properties)]
        quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        argv = self._java([*quick, "kafka.tools.StorageTool", "format", *options])
        run(argv, "formatting Kafka's storage", START_S, env=_env())

    def _java(self, arguments: list[str], writer: Path | None = None) -> list[str]:
        jars, java = tools.kafka_jars(self._build), tools.java()
        quiet = ["-XX:-UsePerfData", "-Dorg.apache.logging.log4j.level=WARN"]
        archive = class_archive.options(jars, java, writer)
        return [java.path, *quiet, *archive, *self._options, "-cp", f"{jars}/*", *arguments]


def _env() -> dict[str, str]:
    names = ("PATH", "LANG", "JDK_JAVA_OPTIONS")
    return {name: os.environ[name] for name in names if name in os.environ}
