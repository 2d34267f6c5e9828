"""The whole flow in one process, in event time: what `foremesh worker` runs over a recorded log."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from threading import Event

from streams.adapters.avro import codec
from streams.adapters.kafka.topics import check_topics
from streams.adapters.metrics.endpoint import before_scrape
from streams.adapters.metrics.table import BATCH_SECONDS, RECORDS
from streams.broker.answered import answered
from streams.engine.outbox import bounded
from streams.errors import TopicsMissing
from streams.flow.components import EVENT_TIME
from streams.flow.topology import STAGES
from streams.pipeline.event_time.checkpoint import FlowCheckpoints
from streams.pipeline.event_time.kafka_record import KafkaRecord
from streams.pipeline.event_time.outbox import FlowOutbox
from streams.pipeline.event_time.presence import GroupPresence
from streams.pipeline.event_time.progress import FlowProgress
from streams.pipeline.event_time.requests import RequestReader
from streams.pipeline.event_time.world import CatalogueView, ControlReader, instances_as_of
from streams.pipeline.replay import PackedRecord, QueuedRecord, ReplayedFlow
from streams.pipeline.worker_meter import StageFigures, observe
from streams.records import Record, Request
from streams.settings import Settings

__all__ = ["EventTimeFlow"]

AGAIN = "start the worker again, nothing is lost"
SPARING = 9.0  # there is no checkpoint for as many times as long as the last one took


class EventTimeFlow:
    """Runs all stages over the requests on Kafka, as `replay` does over a file.

    One request after the other, in the order of their log, is carried through all stages before the
    next; time passes between them as in the log. So every stage judges by a world as old as its
    request, whatever the speed at which the log was produced. What is made goes to the topics.

    Parameters
    ----------
    settings
        Kafka, how often to checkpoint, and how long a silent partition is waited for.

    Raises
    ------
    BrokerUnreachable, TopicsMissing, StagesRunApart
        No broker answers; topics are not as declared; a worker of a stage runs.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = Event()
        self._flow = ReplayedFlow(settings, pack=_packed)
        before_scrape(StageFigures(self._flow.stages, self._flow.letters()).tell)
        self._outbox = FlowOutbox(settings)
        self._progress = FlowProgress()
        with ExitStack() as if_failed, answered(AGAIN):
            self._check_topics()  # without them there is no member
            self._presence = GroupPresence(settings)
            if_failed.callback(self._presence.close)
            # From here on a reset sees it; one that has begun before, it sees by the topics. Else
            # it may load what a reset clears meanwhile, and write it back.
            self._presence.enter()
            self._check_topics()
            self._checkpoints = FlowCheckpoints(settings)
            self._resume()
            self._catalogue = CatalogueView(settings)
            self._controls = ControlReader(settings, self._checkpoints.start("control"))
            self._requests = RequestReader(settings, self._checkpoints.start("requests"))
            if_failed.pop_all()

    def stop(self) -> None:
        """Make `run` return after the current request and a checkpoint."""
        self._stopping.set()

    def run(self) -> None:
        """Run until stopped.

        Raises
        ------
        DeliveryFailed, BrokerUnreachable, StagesRunApart
            Nothing is lost, run again. `DeliveryFailed` also when another such worker has begun.
        """
        try:
            with answered(AGAIN):
                self._run()
        finally:
            reads = self._requests, self._controls, self._catalogue
            for part in (*reads, self._checkpoints, self._presence):
                part.close()

    def _run(self) -> None:
        self._follow_controls(self._controls.whole())
        spent_s = 0.0
        while not self._stopping.is_set():
            self._presence.show()
            pause_s = max(self._settings.commit_ms / 1000, SPARING * spent_s)
            due_s = time.monotonic() + pause_s
            while not self._stopping.is_set() and time.monotonic() < due_s:
                self._take_until(due_s)
            spent_s = self._checkpoint()
            self._progress.show(self._requests)
        self._checkpoint()

    def _check_topics(self) -> None:
        if problems := check_topics(self._settings):
            raise TopicsMissing("; ".join(problems))

    def _resume(self) -> None:
        """Go on from the last checkpoint."""
        places = [(name, p) for name in STAGES for p in range(self._settings.partitions)]
        self._checkpoints.load({place: self._flow.state(*place) for place in places})
        pools = [self._flow.state("provisioner", p) for p in range(self._settings.partitions)]
        for instance in instances_as_of(self._settings, pools):
            self._flow.see(instance)
        self._flow.resume(self._checkpoints.ends())
        # As in the stages' own workers: what was loaded is no garbage, nor walked through for it.
        gc.collect()
        gc.freeze()

    def _take_until(self, until_s: float) -> None:
        """Take requests; returns earlier when none is left of those that have come."""
        self._requests.fetch()
        self._flow.catalog = self._catalogue.as_of(self._requests.fetched_s)
        self._follow_controls(self._controls.new())
        while not self._stopping.is_set() and time.monotonic() < until_s:
            request = self._requests.take()
            if request is None:
                return
            self._follow(request)

    def _follow_controls(self, controls: Iterable[KafkaRecord]) -> None:
        for control in controls:
            self._flow.catalog = self._catalogue.as_of(time.monotonic())
            self._follow(control)

    def _follow(self, received: KafkaRecord) -> None:
        """Carry a record through all stages."""
        self._flow.received_ms = received.timestamp
        for made in chain(self._pass_time(received), self._flow.follow(received)):
            self._outbox.put(made)
            self._progress.made(made.record)
            observe(made.record)
            RECORDS.labels(EVENT_TIME, made.topic, "done").inc()
        RECORDS.labels(EVENT_TIME, received.topic, "done").inc()
        self._progress.took(received)

    def _pass_time(self, received: KafkaRecord) -> Iterator[QueuedRecord]:
        request = received.readable
        return self._flow.advance(request.at_ms) if isinstance(request, Request) else iter(())

    def _checkpoint(self) -> float:
        """Save what was taken, if anything was; how many seconds that took."""
        began_s = time.monotonic()
        at = {"requests": self._requests.positions(), "control": self._controls.positions}
        if all(
            by_partition == self._checkpoints.start(topic) for topic, by_partition in at.items()
        ):
            return 0.0
        with BATCH_SECONDS.labels(EVENT_TIME).time():
            for letter in self._flow.checkpoint():
                self._outbox.put(letter)
            self._outbox.deliver()
            self._checkpoints.save(self._flow.states, at)
        return time.monotonic() - began_s


def _packed(record: Record) -> PackedRecord:
    return PackedRecord(record, bounded(codec.encode, record))
