"""A step may fail anywhere: the state is that of a run in which its record never came."""

from __future__ import annotations

import enum
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from inspect import CO_GENERATOR
from types import BuiltinFunctionType, FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.adapters.avro import codec
from streams.engine.partition_store import PartitionStore
from streams.engine.stage_steps import StageSteps
from streams.flow.topology import STAGES, key_of, topic_of
from streams.pipeline.assembly import stages_of
from streams.pipeline.replay import ReplayedFlow
from streams.records import (
    Action,
    ColdStart,
    Command,
    Feedback,
    Outcome,
    Part,
    Prediction,
    Record,
    Request,
    Result,
    Route,
    ServiceProbability,
    Source,
)
from streams.records.catalog import Catalog, Composite, Constituent, Pool, Resources, Tier
from streams.records.control import Control, Pin, Quota, Variant
from streams.settings import Settings
from streams.stages.base import StepContext

SETTINGS = Settings(partitions=1)
BEFORE, AFTER = 4, 2  # records since the checkpoint that is gone back to; records that follow
YEAR_9999_MS = 253_402_300_799_999
CATALOG = Catalog.of(
    [
        Constituent(service="base", needs=Resources(cpu=1.0), warm_up_ms=9_000, price=1.0),
        *(
            Constituent(
                service=name, needs=Resources(cpu=1.0), warm_up_ms=ms, price=0.5, base="base"
            )
            for name, ms in (("red", 3_000), ("blue", 2_000))
        ),
        Constituent(service="loose", needs=Resources(cpu=2.0), warm_up_ms=4_000, price=1.0),
        Composite(service="draw red", steps=(("red",), ("loose",))),
        Composite(service="draw blue", steps=(("blue",),)),
        Tier(tier="gold", weight=0.5, sla_ms=500, priority=10),
        Tier(tier="standard", weight=0.1, sla_ms=1_000),
        Pool(pool="default", capacity=Resources(cpu=6.0), budget=20.0),
    ]
)
CONTROL = Control(
    pool="default",
    budget=15.0,
    pins=(Pin(service="loose", least=1, most=2),),
    quotas=(Quota(tier="gold", budget=9.0),),
    variants=(Variant(), Variant(name="dear", price=20.0)),
)


@dataclass(frozen=True)
class Raw:
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


Taken = tuple[str, Raw, StepContext]


def log() -> Iterator[Record]:
    """Three users of two tiers; every other request is served by a gateway and measured."""
    yield CONTROL
    for number in range(36):
        request = Request(
            request_id=f"r{number}",
            user=("ann", "bob", "cid")[number % 3],
            service=("draw red", "draw blue")[number % 3 % 2],
            at_ms=1_000_000 + 7_000 * number,
            tier="gold" if number % 3 else "standard",
            source=Source.GATEWAY if number % 2 else Source.LOG,
            serve_ms=10_000 * (number % 4),
            parameters={"size": str(number % 2)},
        )
        yield request
        if request.source is Source.GATEWAY:
            yield served(request)


def served(request: Request) -> Outcome:
    parts = (
        Part(service="red", warm=False, wait_ms=900, serve_ms=50, warm_up_ms=2_900),
        Part(service="loose", warm=True, instance_id="i", serve_ms=20),
    )
    return Outcome(
        request_id=request.request_id, user=request.user, tier=request.tier, pool=request.pool,
        service=request.service, at_ms=request.at_ms, result=Result.PARTIAL,
        route=Route.STANDARD, status=200, latency_ms=970.0, cold_ms=900, saved_ms=100,
        parts=parts, source=Source.GATEWAY,
    )  # fmt: skip


@cache
def taken() -> dict[str, list[Taken]]:
    """What each stage takes in of the flow, in order."""
    flow = ReplayedFlow(SETTINGS, CATALOG, timed=False)
    found: dict[str, list[Taken]] = {name: [] for name in STAGES}
    for fed in log():
        for record in flow.feed(fed):
            for row in STAGES.values():
                if topic_of(record) in row.reads:
                    context = StepContext(0, 0, CATALOG, dict(flow.instances))
                    found[row.name].append(entry(record, len(found[row.name]), context))
    return found


def entry(record: Record, offset: int, context: StepContext) -> Taken:
    return topic_of(record), Raw(offset, 0, key_of(record), codec.encode(record)), context


def packed(record: Record) -> Record:
    """A record that can be sent."""
    codec.encode(record)
    return record


# --------------------------------------------------------------------- faults


class InjectedError(Exception):
    pass


class Fault:
    """Raises at the n-th occasion once it is armed, and once only."""

    def __init__(self) -> None:
        self.left = 0

    def occasion(self) -> None:
        if self.left:
            self.left -= 1
            if not self.left:
                raise InjectedError

    @contextmanager
    def armed(self, at: int) -> Iterator[None]:
        self.left = at
        yield
        self.left = 0


class FaultyStore(PartitionStore[Any]):
    """Each access by a step is an occasion."""

    fault = Fault()

    def get(self, key: str, default: Any = None) -> Any:
        self.fault.occasion()
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.fault.occasion()
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self.fault.occasion()
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self.fault.occasion()
        super().__delitem__(key)


class FaultyKernels(Fault):
    """Each call of machine code is an occasion, wherever it is called from."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        modules = {n: m for n, m in sys.modules.items() if n.startswith("streams.")}
        for module in modules.values():
            for name, kernel in list(vars(module).items()):
                if isinstance(kernel, BuiltinFunctionType) and kernel.__module__ in modules:
                    patch.setattr(module, name, self.wrapped(kernel))

    def wrapped(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self.occasion()
            return kernel(*args)

        return call


class FaultyCalls(Fault):
    """Each call of a function within a step is an occasion.

    A generator's first turn is one, and no other: the last may be its being closed, where nobody
    hears of an error.
    """

    def __init__(self, step: Any) -> None:
        super().__init__()
        self._step, self._within = step.__code__, False
        self._begun: set[FrameType] = set()  # generators

    @contextmanager
    def armed(self, at: int) -> Iterator[None]:
        self._within = False
        with super().armed(at):
            sys.setprofile(self._see)
            yield
            sys.setprofile(None)
        self._begun.clear()

    def _see(self, frame: FrameType, event: str, argument: object) -> None:
        del argument
        if frame.f_code is self._step:
            self._within = event == "call" or (self._within and event != "return")
        elif (
            self._within
            and event == "call"
            and str(frame.f_globals.get("__name__"))[:7] == "streams"
            and frame not in self._begun
        ):
            if frame.f_code.co_flags & CO_GENERATOR:
                self._begun.add(frame)
            self.occasion()


# --------------------------------------------------------------------- extremes

INTS = (-(2**63), -1, 0, YEAR_9999_MS, 2**63 - 1)
FLOATS = (float("nan"), float("inf"), float("-inf"), -0.5, 0.0, 1e308)
TEXTS = ("", "x" * 256, "\x00")
MANY = 10_000


def extremes(value: Any) -> Iterator[Any]:
    """Values of this type, or records like this one with a field that is extreme."""
    like: Any = value
    match value:
        case bool() | enum.Enum():
            return
        case int() | float() | str():
            of = FLOATS if isinstance(value, float) else INTS if isinstance(value, int) else TEXTS
            yield from of
        case dict():
            yield {}
            yield {f"key {n}": "value" for n in range(MANY)}
        case tuple() if not hasattr(value, "_fields"):
            yield ()
            if value:
                yield value[:1] * MANY
                yield from ((made, *value[1:]) for made in extremes(value[0]))
        case tuple():
            for at, part in enumerate(value):
                yield from (like._replace(**{like._fields[at]: made}) for made in extremes(part))
        case _ if is_dataclass(value):
            for field in fields(value):
                made = extremes(getattr(value, field.name))
                yield from (replace(like, **{field.name: one}) for one in made)
        case _:
            return


# --------------------------------------------------------------------- runs


class Place:
    """A place in what a stage takes in: the record that stands there fails, then comes again."""

    def __init__(self, name: str, at: int) -> None:
        self.stage, self.entries, self.at = stages_of(SETTINGS)[name], taken()[name], at
        self.steps = StageSteps(self.stage, codec.installed(), packed)
        first = FaultyStore(self.stage.encode, self.stage.decode, 10**6)
        self.take(first, self.entries[: max(0, at - BEFORE)])
        self.rows = [(key.encode(), value) for key, value in self.encoded(first)]
        clean = self.store()
        self.before = self.encoded(clean)
        self.take(clean, self.following)
        self.after = self.encoded(clean)

    @property
    def following(self) -> list[Taken]:
        return self.entries[self.at : self.at + AFTER]

    def store(self) -> FaultyStore:
        """As it stands there, with rows as bytes, decoded, and changed since the checkpoint."""
        store = FaultyStore(self.stage.encode, self.stage.decode, 10**6)
        store.load(self.rows)
        self.encoded(store)
        store.checkpoint()
        self.take(store, self.entries[max(0, self.at - BEFORE) : self.at])
        return store

    def take(self, store: PartitionStore[Any], entries: Iterable[Taken]) -> list[Record]:
        made: list[Record] = []
        for topic, record, context in entries:
            outcome, records, others = self.steps.take(topic, record, store, context)
            assert (outcome, others) == ("done", ()), records
            made += records
        return made

    def encoded(self, store: PartitionStore[Any]) -> list[tuple[str, bytes]]:
        """Every row, from its decoded value, in order."""
        return [(key, self.stage.encode(store[key])) for key in store]

    def fails(self, fault: Fault, at: int) -> bool:
        """Whether the record fails at this occasion; if so it must have left nothing."""
        store = self.store()
        topic, record, context = self.entries[self.at]
        with fault.armed(at):
            outcome, made, others = self.steps.take(topic, record, store, context)
        if outcome != "failed":
            return False
        assert "InjectedError" in str(made)
        assert others == ()
        assert self.encoded(store) == self.before
        self.take(store, self.following)
        assert self.encoded(store) == self.after
        return True


def idle(taken: Taken) -> bool:
    """Whether there is nothing to learn from it: feedback of a request that waited for no start."""
    record = codec.decode(taken[1].value or b"")
    return isinstance(record, Feedback) and not record.warm_ups


@cache
def places(name: str) -> Sequence[Place]:
    """Two for each kind of record that the stage takes in: in the midst of the flow and late."""
    found = []
    for topic in STAGES[name].reads:
        at = [i for i, entry in enumerate(taken()[name]) if entry[0] == topic and not idle(entry)]
        found += [Place(name, i) for i in sorted({at[len(at) // 2], at[-1]})]
    return found


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", STAGES)
def test_a_step_that_fails_at_any_access_of_its_state_leaves_no_trace(name: str) -> None:
    for place in places(name):
        at = 1
        while place.fails(FaultyStore.fault, at):
            at += 1
        assert at > 1 or name in {"interceptor", "feedback"}  # which keep no state


@pytest.mark.parametrize("name", STAGES)
def test_a_step_that_fails_at_any_kernel_leaves_no_trace(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = FaultyKernels(monkeypatch)
    for place in places(name):
        at = 1
        while place.fails(kernels, at):
            at += 1
        assert at > 1 or name != "profiler"


@pytest.mark.parametrize("name", STAGES)
def test_a_step_that_fails_in_any_function_leaves_no_trace(name: str) -> None:
    for place in places(name):
        calls, at = FaultyCalls(type(place.stage).step), 1
        while place.fails(calls, at):
            at += 1 + at // 3
        assert at > 1 or name == "interceptor"  # what a gateway has judged it leaves


@pytest.mark.parametrize("place", range(2))
def test_a_tick_that_fails_at_any_access_of_its_state_leaves_no_trace(place: int) -> None:
    """Within a minute silences go through several stages."""
    found, at, failed = places("aggregator")[place], 0, True
    while failed:
        at += 1
        store, (*_, context) = found.store(), found.entries[found.at]
        now_ms = (found.stage.due(store) or 0) + 60_000
        with FaultyStore.fault.armed(at):
            made, _ = found.steps.tick(now_ms, store, context)
            failed = not FaultyStore.fault.left
        assert bool(made) is not failed
        if failed:
            assert found.encoded(store) == found.before
    assert at > 10


READS = [(name, topic) for name, row in STAGES.items() for topic in row.reads]


def refused(place: Place, record: Record) -> bool:
    """Take a record in after the others; whether it was refused, and so left nothing."""
    store = place.store()
    topic, raw, context = entry(record, place.at, place.entries[place.at][2])
    outcome, _, others = place.steps.take(topic, raw, store, context)
    assert others == ()
    place.encoded(store)
    assert place.steps.checkpoint(store) == ()
    if outcome == "done":
        place.take(store, place.following)
        assert place.steps.checkpoint(store) == ()
        return False
    assert place.encoded(store) == place.before
    return True


@pytest.mark.parametrize(("name", "topic"), READS)
def test_extreme_records_are_refused_whole_or_leave_a_state_to_go_on_with(
    name: str, topic: str
) -> None:
    place = next(place for place in places(name) if place.entries[place.at][0] == topic)
    like = codec.decode(place.entries[place.at][1].value or b"")
    for record in extremes(like):
        refused(place, record)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(READS), st.data())
def test_records_with_several_extremes_are_refused_or_leave_a_state_to_go_on_with(
    reads: tuple[str, str], data: st.DataObject
) -> None:
    name, topic = reads
    place = next(place for place in places(name) if place.entries[place.at][0] == topic)
    record: Any = codec.decode(place.entries[place.at][1].value or b"")
    for field in data.draw(st.lists(st.sampled_from(fields(record)), min_size=2, max_size=4)):
        made = list(extremes(getattr(record, field.name)))
        if made:
            record = replace(record, **{field.name: data.draw(st.sampled_from(made))})
    refused(place, record)


class CheckedStore(PartitionStore[Any]):
    """At a checkpoint every row that was not assigned must still be what its bytes say."""

    encode: Callable[[Any], bytes]

    def checkpoint(self) -> None:
        for key in self._live.keys() - self._changed.keys():
            assert self.encode(self._live[key]) == self._rows(key)[key], f"{key} is not assigned"
        super().checkpoint()


def late(record: Record) -> Record | None:
    """The same record once more, from a time when it has nothing to say any more."""
    match record:
        case Prediction():
            known = ServiceProbability("draw green", 0.5, 0.5)
            return replace(record, services=(known,), horizon_ms=7, expires_ms=record.made_ms)
        case Command():
            return replace(record, action=Action.QUEUE, issued_ms=record.issued_ms + 60_000)
        case ColdStart():
            return replace(record, at_ms=record.at_ms + 60_000)
    return None


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_assigns_every_row_that_it_changes(name: str) -> None:
    stage = stages_of(SETTINGS)[name]
    steps = StageSteps(stage, codec.installed(), packed)
    store = CheckedStore(stage.encode, stage.decode, 10**6)
    store.encode = stage.encode
    for topic, raw, context in taken()[name]:
        steps.take(topic, raw, store, context)
        store.checkpoint()
        again = late(codec.decode(raw.value or b""))
        if again is not None:
            steps.take(*entry(again, raw.offset, context)[:2], store, context)
            store.checkpoint()
        if (due_ms := stage.due(store)) is not None:
            steps.tick(due_ms, store, context)
            store.checkpoint()
