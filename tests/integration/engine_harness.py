"""Load, workers and the count of what they did, kept outside of the system under test."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Self

import counting
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but in no __all__
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from counting import Counting, State
from harness import eventually

from streams.adapters.avro.codec import decode, encode
from streams.adapters.kafka.clients import (
    MAX_MESSAGE_BYTES,
    client_config,
    connect,
    consumer_config,
    producer_config,
)
from streams.engine.partition_store import PartitionStore
from streams.engine.producer import CheckedProducer
from streams.engine.recovery import read_partition
from streams.flow.topology import changelog
from streams.records import Outcome, Request
from streams.settings import Settings
from streams.stages.base import StepContext


class Load:
    """Requests of many users at a steady rate, until stopped."""

    def __init__(self, settings: Settings, per_s: float, users: int = 200) -> None:
        self.sent = 0
        self._settings, self._per_s, self._users = settings, per_s, users
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more; what was sent is delivered."""
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        patient = replace(self._settings, delivery_ms=300_000)
        producer = CheckedProducer(producer_config(patient))
        chance, begun = random.Random(7), time.monotonic()
        while not self._stop.wait(0.01):
            due = int((time.monotonic() - begun) * self._per_s)
            while self.sent < due:
                send(self._settings, producer, self.sent, f"user{chance.randrange(self._users)}")
                self.sent += 1
        producer.flush(300)


def send(
    settings: Settings, producer: CheckedProducer, number: int, user: str, service: str = "s"
) -> None:
    """One request, its number its id."""
    request = Request(request_id=f"r{number}", user=user, service=service, at_ms=1_000 + number)
    producer.send(settings.topic("requests"), user.encode(), encode(request))


class Workers:
    """Workers as child processes, to end as one likes.

    They are forked from a server that has imported everything: a start costs milliseconds.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        main: Callable[[Settings, str], None] = counting.main,
    ) -> None:
        self._settings, self._folder, self._main = settings, folder, main
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["counting"])
        self.alive: list[ForkServerProcess] = []
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in list(self.alive):
            self.end(process, signal.SIGKILL)

    def start(self, settings: Settings | None = None) -> ForkServerProcess:
        self._count += 1
        log = self._folder / f"worker-{self._count}.log"
        process = self._context.Process(
            target=self._main, args=(settings or self._settings, str(log)), daemon=True
        )
        process.start()
        self.alive.append(process)
        return process

    def tell(self, process: ForkServerProcess, number: signal.Signals) -> None:
        assert process.pid
        os.kill(process.pid, number)

    def end(self, process: ForkServerProcess, how: signal.Signals) -> int | None:
        """End it; its exit code, negative for a signal."""
        if process.is_alive():
            self.tell(process, how)
        process.join(30)
        assert process.exitcode is not None, self.logs()
        self.alive.remove(process)
        return process.exitcode

    def logs(self) -> str:
        return "\n".join(p.read_text() for p in sorted(self._folder.glob("worker-*.log")))


def come_and_go(workers: Workers, changes: int = 20, seed: int = 2) -> None:
    """One to four workers: they start, are told to end, or are killed, at random times."""
    chance = random.Random(seed)
    for _ in range(changes):
        time.sleep(chance.uniform(0.2, 3.0))
        few, many = len(workers.alive) == 1, len(workers.alive) == 4
        if few or (not many and chance.random() < 0.5):
            workers.start()
        else:
            how = chance.choice([signal.SIGKILL, signal.SIGTERM])
            code = workers.end(chance.choice(workers.alive), how)
            assert code in {0, -how}  # one that had not begun dies of the signal


@dataclass
class Expected:
    """What an uninterrupted run makes of the input: state by partition, outcomes by request."""

    state: list[dict[str, bytes]]
    outcomes: dict[str, bytes]
    ends: list[int]

    @classmethod
    def of(cls, settings: Settings) -> Expected:
        stage, outcomes, states, ends = Counting(), {}, [], []
        for number in range(settings.partitions):
            state: dict[str, State] = {}
            values = list(records(settings, "requests", number))
            for value in values:
                for made in stage.step(decode(value), state, StepContext()):
                    assert isinstance(made, Outcome)
                    outcomes[made.request_id] = encode(made)
            states.append({key: stage.encode(value) for key, value in state.items()})
            ends.append(len(values))
        return cls(states, outcomes, ends)


def records(settings: Settings, topic: str, partition: int) -> Iterator[bytes]:
    """The values of a partition, from its start to its end."""
    config = client_config(settings)
    for rows in read_partition(config, settings.topic(topic), partition, lambda: False):
        yield from (value for _, value in rows if value is not None)


def saved_state(settings: Settings, partition: int) -> tuple[dict[str, bytes], dict[str, int]]:
    """State and input position, as the changelog has them."""
    store: PartitionStore[bytes] = PartitionStore(bytes, bytes, 10**9)
    name = settings.topic(changelog("interceptor"))
    for rows in read_partition(client_config(settings), name, partition, lambda: False):
        store.load(rows)
    return dict(store), dict(store.position)


def committed(settings: Settings) -> list[int]:
    """The committed offset of each partition."""
    consumer = Consumer(consumer_config(settings, settings.group("interceptor")))
    topic = settings.topic("requests")
    asked = [TopicPartition(topic, number) for number in range(settings.partitions)]
    try:
        return [max(0, tp.offset) for tp in consumer.committed(asked, 10)]
    except KafkaException as error:
        raise AssertionError("the group has no coordinator yet") from error
    finally:
        consumer.close()


def done(settings: Settings, ends: list[int]) -> bool:
    """Whether all is committed; says how far it is when not."""
    so_far = committed(settings)
    assert so_far == ends, f"{so_far} of {ends}"
    return True


def check(settings: Settings, timeout_s: float = 180) -> int:
    """Once all input is done: state as of an uninterrupted run, and every outcome.

    Returns how many outcomes were sent more than once; each time the same bytes.
    """
    expected = Expected.of(settings)
    eventually(lambda: done(settings, expected.ends), timeout_s)
    for number, state in enumerate(expected.state):
        found, position = saved_state(settings, number)
        assert position == {"requests": expected.ends[number]}
        assert found == state
    seen: dict[str, list[bytes]] = defaultdict(list)
    for number in range(settings.partitions):
        for value in records(settings, "outcomes", number):
            made = decode(value)
            assert isinstance(made, Outcome)
            seen[made.request_id].append(value)
    assert seen.keys() == expected.outcomes.keys()
    wrong = {i for i, values in seen.items() if set(values) != {expected.outcomes[i]}}
    assert not wrong
    return sum(len(values) - 1 for values in seen.values())


def refuse(settings: Settings, topic: str) -> None:
    """The broker takes nothing for this topic: all is too large."""
    _largest(settings, topic, 1)


def allow(settings: Settings, topic: str) -> None:
    """The broker takes records for this topic again."""
    _largest(settings, topic, MAX_MESSAGE_BYTES)


def _largest(settings: Settings, topic: str, size: int) -> None:
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    name = settings.topic(topic)
    asked = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    client = connect(settings)
    for future in client.incremental_alter_configs([asked]).values():
        future.result(30)
