"""What the stages of a worker keep warm for one application of FeMux's workload."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from streams.pipeline.replay import ReplayedFlow
from streams.records import InstanceState, Request
from streams.records.catalog import Catalog, Composite, Constituent, Pool, Resources, Tier
from streams.records.control import MINUTE_MS
from streams.settings import Settings

__all__ = ["kept"]

START_MS = 1_600_000_020_000  # of the day: a full minute
NAME = "application"
CONTAINER = Resources(cpu=1.0)
PLENTY = CONTAINER.times(1e6)


def kept(
    containers: Sequence[int], warm_hour: float, cold_s: float, settings: Settings
) -> Iterator[int]:
    """The warm containers at the beginning of each minute.

    A replay of the minutes: so many requests at the beginning of each as it has containers in use,
    which are served until its end, all by one user, since no user is known.

    Parameters
    ----------
    containers
        In use, minute by minute.
    warm_hour
        Cost of a container for an hour, in seconds waited.
    cold_s
        Duration of a cold start.
    """
    serve_ms = MINUTE_MS - settings.tick_ms  # heard of a tick later
    flow = ReplayedFlow(settings, _catalog(warm_hour, cold_s), serve_ms=serve_ms)
    for minute, used in enumerate(containers):
        at_ms = START_MS + minute * MINUTE_MS
        _end(flow.advance(at_ms))
        yield _ready(flow, at_ms)
        for number in range(used):
            name = f"{minute}/{number}"
            _end(flow.feed(Request(request_id=name, user=NAME, service=NAME, at_ms=at_ms)))


def _catalog(warm_hour: float, cold_s: float) -> Catalog:
    start_ms = round(1_000 * cold_s)
    return Catalog.of(
        [
            Constituent(service=NAME, needs=CONTAINER, warm_up_ms=start_ms, price=warm_hour),
            Composite(service=NAME, steps=((NAME,),)),
            Tier(tier="standard", weight=1.0, sla_ms=start_ms),
            Pool(pool="default", capacity=PLENTY),
        ]
    )


def _ready(flow: ReplayedFlow, at_ms: int) -> int:
    """Instances that were started before a time."""
    there = (i for i in flow.instances.values() if i.state is not InstanceState.GONE)
    return sum(instance.started_ms < at_ms for instance in there)


def _end(records: Iterator[object]) -> None:
    deque(records, maxlen=0)
