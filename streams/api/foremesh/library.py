"""Two stages and the whole flow as objects of a program: what a worker runs, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace as changed

from streams.pipeline import replay as in_memory
from streams.pipeline.replay import ReplayedFlow
from streams.records import (
    Command,
    DeadLetter,
    Feedback,
    Instance,
    Prediction,
    Record,
    Request,
    Utilisation,
)
from streams.records.catalog import Catalog
from streams.records.control import Control
from streams.settings import Settings
from streams.stages.base import RecordUnusable

__all__ = ["Allocator", "Profiler", "replay"]


class Profiler:
    """Learns from each request, and predicts the next one of its user.

    Parameters
    ----------
    catalog
        Which services and pools there are; without one, every name is taken.
    settings
        Of these, `horizon_ms` and `rnn` count.

    Examples
    --------
    >>> from foremesh import Profiler, Request
    >>> profiler = Profiler()
    >>> for n, service in enumerate(["sketch", "portrait"] * 10):
    ...     vector = profiler.learn(
    ...         Request(request_id=f"r{n}", user="alice", service=service, at_ms=n * 60_000)
    ...     )
    >>> next_one = vector.services[0]
    >>> next_one.service, next_one.probability > 0.8
    ('sketch', True)
    """

    def __init__(self, catalog: Catalog | None = None, settings: Settings | None = None) -> None:
        self._flow = _flow(("profiler",), catalog, settings)

    def learn(self, request: Request) -> Prediction | None:
        """Learn a request, and predict its user's next one; None if it was learnt before.

        Raises
        ------
        RecordUnusable
            The request cannot be used, and a worker would make it a dead letter: why.
        """
        made = _usable(self._flow.feed(request))
        return next((record for record in made if isinstance(record, Prediction)), None)


class Allocator:
    """Decides what to keep warm, from vectors of users and from what is warm now.

    Parameters
    ----------
    catalog
        What the services are made of, what they cost, and how much room there is.
    settings
        Of these, `tick_ms`, `horizon_ms` and `serve_ms` count.

    Examples
    --------
    >>> from foremesh import Allocator, Profiler, Request, infer_catalog
    >>> requests = [
    ...     Request(request_id=f"r{n}", user="alice", service="draw", at_ms=n * 10_000)
    ...     for n in range(30)
    ... ]
    >>> catalog = infer_catalog(requests)
    >>> profiler, allocator = Profiler(catalog), Allocator(catalog)
    >>> commands = [
    ...     command
    ...     for request in requests
    ...     for command in allocator.decide(profiler.learn(request))
    ... ]
    >>> commands[0].action.value, commands[0].service
    ('provision', 'draw')
    """

    def __init__(self, catalog: Catalog, settings: Settings | None = None) -> None:
        self._flow = _flow(("aggregator", "allocator"), catalog, settings)

    def decide(self, event: Prediction | Feedback | Utilisation | Control | None) -> list[Command]:
        """Take in what was predicted, learnt, measured or ordered; the commands that follow.

        With a vector time passes up to it first. None, as `Profiler.learn` has for a request that
        came again, changes nothing.

        Raises
        ------
        RecordUnusable
            The event cannot be used, and a worker would make it a dead letter: why.
        """
        if event is None:
            return []
        due = self.advance(event.made_ms) if isinstance(event, Prediction) else []
        return [*due, *_commands(self._flow.feed(event))]

    def advance(self, now_ms: int) -> list[Command]:
        """Let time pass without an event; the commands that were due."""
        return _commands(queued.record for queued in self._flow.advance(now_ms))

    def see(self, instance: Instance) -> None:
        """Take note of an instance that starts, is warm or is gone."""
        self._flow.see(instance)


def replay(
    requests: Iterable[Request], catalog: Catalog | None = None, settings: Settings | None = None
) -> Iterator[Record]:
    """Every record that a log leads to, in order, the requests themselves included.

    All stages take part, instances are simulated, and the time of the log is the clock.

    Examples
    --------
    >>> from foremesh import Outcome, Request, infer_catalog, replay
    >>> requests = [
    ...     Request(request_id=f"r{n}", user="alice", service="draw", at_ms=n * 10_000)
    ...     for n in range(60)
    ... ]
    >>> outcomes = [
    ...     record
    ...     for record in replay(requests, infer_catalog(requests))
    ...     if isinstance(record, Outcome)
    ... ]
    >>> [outcome.result.value for outcome in (outcomes[0], outcomes[-1])]
    ['miss', 'hit']
    """
    return in_memory.replay(requests, settings or Settings(), catalog)


def _flow(
    stages: tuple[str, ...], catalog: Catalog | None, settings: Settings | None
) -> ReplayedFlow:
    """These stages alone; in one partition, for nothing else shares their work."""
    one = changed(settings or Settings(), partitions=1)
    return ReplayedFlow(one, catalog, stages=stages, serve_ms=one.serve_ms)


def _usable(records: Iterable[Record]) -> Iterator[Record]:
    for record in records:
        if isinstance(record, DeadLetter):
            raise RecordUnusable(record.reason)
        yield record


def _commands(records: Iterable[Record]) -> list[Command]:
    return [record for record in _usable(records) if isinstance(record, Command)]
