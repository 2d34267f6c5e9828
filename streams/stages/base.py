"""The contract of a stage: a pure step from an event and its state to records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

from streams.records import Instance, Record, Request
from streams.records.catalog import Catalog
from streams.records.requests import MOST_SERVE_MS

__all__ = [
    "AHEAD_MS",
    "MAX_MS",
    "MAX_NAME",
    "MAX_SKEW_MS",
    "EventDriven",
    "NoRoom",
    "NotInCatalogue",
    "RecordUnusable",
    "Stage",
    "StepContext",
    "TickedByPart",
    "admit",
    "believed_ms",
    "named",
]

MAX_MS = 253_402_300_799_999  # the end of the year 9999
MAX_SKEW_MS = 24 * 3600 * 1000  # most that a client's clock may be ahead
AHEAD_MS = 60_000  # most that it may be ahead and be believed, as a clock of our own may
MAX_NAME = 256  # characters of a user, service, tier, pool or request id
MAX_PARAMETERS = 64
MAX_PARAMETER_LENGTH = 16 * 1024  # characters of all names and values together

S = TypeVar("S")


class RecordUnusable(Exception):
    """A record that no stage can use; the message is the reason kept with it."""

    kind = "unusable"  # of reason


class NotInCatalogue(RecordUnusable):
    """A record is about what the catalogue does not have."""

    kind = "not_in_catalogue"


class NoRoom(RecordUnusable):
    """There is no room for what a record is about; the log says so as well, once.

    To be raised before a step changes anything: it is not undone, however many of these come.
    """

    kind = "no_room"


class StepContext(NamedTuple):
    """The inputs of a step besides its event and its state.

    Catalogue and instances are snapshots: what changes is another object, so that a stage may
    keep what it has made of one.
    """

    partition: int = 0  # of the input topic
    record_ms: int = 0  # when the record was produced (Kafka's timestamp)
    catalog: Catalog = Catalog()
    instances: Mapping[str, Instance] = MappingProxyType({})  # by instance id


class Stage(Protocol[S]):
    """One stage of the flow. No clock, network or Kafka: time and context are arguments."""

    name: str  # the same word everywhere: agent, consumer group, metric label, log action

    def step(
        self, event: Record, state: MutableMapping[str, S], context: StepContext
    ) -> Iterable[Record]:
        """Process one event.

        State that was changed must be assigned again (`state[key] = value`): a mutation in
        place is not saved. Raises `RecordUnusable` for a record that cannot be used.
        """
        ...

    def tick(
        self, now_ms: int, state: MutableMapping[str, S], context: StepContext
    ) -> Iterable[Record]:
        """Advance to `now_ms` without an event; most stages do nothing."""
        ...

    def due(self, state: MutableMapping[str, S]) -> int | None:
        """Event time from which a tick would do something; None while only an event would."""
        ...

    def encode(self, value: S) -> bytes:
        """The explicit, versioned bytes of one value of the state."""
        ...

    def decode(self, data: bytes) -> S:
        """The value of these bytes, of this or any earlier version; ValueError otherwise."""
        ...


@runtime_checkable
class TickedByPart(Protocol[S]):
    """A stage of which a tick is done part by part, when one of them fails: the others still are."""

    def parts(self, context: StepContext) -> Iterable[str]:
        """The names of the parts; a tick without failure is the same as that of each in turn."""
        ...

    def tick_part(
        self, part: str, now_ms: int, state: MutableMapping[str, S], context: StepContext
    ) -> Iterable[Record]:
        """Advance a part to `now_ms`."""
        ...


class EventDriven:
    """A stage in which only events change anything: time alone does nothing."""

    def tick(self, now_ms: int, state: object, context: StepContext) -> Iterable[Record]:
        """Do nothing."""
        del now_ms, state, context
        return ()

    def due(self, state: object) -> int | None:
        """Never."""
        del state
        return None


def named(record: object, *names: str) -> None:
    """Refuse a record of which one of these fields is empty or too long for a name."""
    for name in names:
        text = getattr(record, name)
        if not text:
            raise RecordUnusable(f"{name} is empty")
        if len(text) > MAX_NAME:
            raise RecordUnusable(f"{name} has {len(text)} characters, more than {MAX_NAME}")


def admit(request: Request, context: StepContext) -> Request:
    """Refuse an invalid request: raises `RecordUnusable` with the reason.

    One of a clock that is ahead is given the time of its record: nothing of it may count as the
    latest until that clock's time has come.
    """
    named(request, "user", "service", "request_id", "tier", "pool")
    if request.at_ms < 0:
        raise RecordUnusable(f"time {request.at_ms} is negative")
    if request.at_ms > MAX_MS:
        raise RecordUnusable(f"time {request.at_ms} is after the year 9999")
    if 0 < context.record_ms < request.at_ms - MAX_SKEW_MS:
        raise RecordUnusable(
            f"time {request.at_ms} is more than a day after the record was produced"
        )
    if not 0 <= request.serve_ms <= MOST_SERVE_MS:
        raise RecordUnusable(f"serve_ms {request.serve_ms} is negative or more than a year")
    size = sum(len(k) + len(v) for k, v in request.parameters.items())
    if len(request.parameters) > MAX_PARAMETERS or size > MAX_PARAMETER_LENGTH:
        raise RecordUnusable(
            f"parameters are oversized: {len(request.parameters)} entries, {size} characters"
            f" (at most {MAX_PARAMETERS} and {MAX_PARAMETER_LENGTH})"
        )
    if not context.catalog.knows(request.service):
        raise NotInCatalogue(f"service {request.service!r} is not in the catalogue")
    if not context.catalog.serves(request.pool):
        raise NotInCatalogue(f"pool {request.pool!r} is not in the catalogue")
    at_ms = believed_ms(request.at_ms, context.record_ms)
    return request if at_ms == request.at_ms else replace(request, at_ms=at_ms)


def believed_ms(at_ms: int, record_ms: int) -> int:
    """The time of what says it was at `at_ms`, in a record that was produced at `record_ms`.

    A minute ahead is a clock that is wrong; what is behind may have waited. 0 is no time.
    """
    return record_ms if 0 < record_ms < at_ms - AHEAD_MS else at_ms
