"""Whatever Avro can hold, on every topic of every stage: nothing ends, blocks or leaves a trace."""

from __future__ import annotations

import dataclasses
import enum
import logging
import time
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_undo import CATALOG, SETTINGS, Raw, log, taken

from streams.adapters.avro import codec
from streams.adapters.postgres.rows import RecordRows
from streams.adapters.postgres.tables import STORED_TABLES
from streams.engine.outbox import MOST_BYTES
from streams.engine.partition_store import PartitionStore
from streams.engine.stage_steps import StageSteps
from streams.engine.view_records import view_decoder
from streams.flow.topology import STAGES, TOPICS, TOPOLOGY, key_of
from streams.pipeline.assembly import stages_of
from streams.pipeline.replay import ReplayedFlow
from streams.records import DeadLetter, Instance, Record
from streams.records.catalog import Catalog, CatalogEntry
from streams.stages.base import StepContext

NOW = 1_300_000
LONGEST_S = 1.0
MANY = 10_000
INTS = st.sampled_from([-(2**63), -1, 0, 1, 7, NOW, 253_402_300_799_999, 2**53, 2**63 - 1])
FLOATS = st.sampled_from(
    [float("nan"), float("inf"), float("-inf"), -0.5, 0.0, 0.5, 1.0, 40.0, 1e15, 1e308, 5e-324]
)
TEXTS = st.sampled_from(
    [
        *("", "ann", "bob", "default", "gold", "red", "blue", "base", "loose", "draw red"),
        *("x", "\x00", "\x1b[31m", "\u202eevil", "\U0001f600", "y"),
    ]
).map(lambda text: text * {"x": 256, "\U0001f600": 256, "y": 300_000}.get(text, 1))


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field of this type, most of them extreme."""
    plain = {str: TEXTS, int: INTS, float: FLOATS, bool: st.booleans(), bytes: st.just(b"")}
    if hint in plain:
        return plain[hint]
    origin, args = get_origin(hint), get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        return st.one_of([st.none() if arg is type(None) else values(arg) for arg in args])
    if origin is Mapping:
        many = st.just({f"key {n}": "value" for n in range(MANY)})
        return st.one_of(st.dictionaries(TEXTS, TEXTS, max_size=3), many)
    if origin is tuple:
        return _tuples(args)
    if issubclass(hint, enum.Enum):
        return st.sampled_from(list(hint))
    return records(hint)


def _tuples(args: tuple[Any, ...]) -> st.SearchStrategy[tuple[Any, ...]]:
    if args[-1] is not Ellipsis:
        return st.tuples(*map(values, args))
    few = st.lists(values(args[0]), max_size=3).map(tuple)
    return st.one_of(few, values(args[0]).map(_many))


def _many(one: Any) -> tuple[Any, ...]:
    """As many as fit into a record."""
    return (one,) * min(MANY, 2_000_000 // len(repr(one)))


def records(kind: Any) -> st.SearchStrategy[Any]:
    """Records of this kind, or parts of one, with any values."""
    hints = get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else hints
    return st.builds(kind, **{name: values(hints[name]) for name in names})


@cache
def usual(topic: str) -> list[Record]:
    """Records of the flow on a topic."""
    if topic == "catalog":
        return list(CATALOG)
    if topic == "instances":
        return [each for *_, context in taken()["allocator"] for each in context.instances.values()]
    found = [raw.value for name in STAGES for of, raw, _ in taken()[name] if of == topic]
    return [codec.decode(value or b"") for value in found[:60]]


@st.composite
def spoilt(draw: st.DrawFn, topic: str) -> Any:
    """A record of the flow with a few of its fields, or of those of its parts, made extreme."""
    record: Any = draw(st.sampled_from(usual(topic)))
    hints = get_type_hints(type(record))
    for name in draw(st.lists(st.sampled_from(sorted(hints)), min_size=1, max_size=3)):
        value = getattr(record, name)
        parts = isinstance(value, tuple) and value and hasattr(value[0], "__slots__")
        made = (_spoilt_part(draw, value[0]), *value[1:]) if parts else draw(values(hints[name]))
        record = dataclasses.replace(record, **{name: made})
    return record


def _spoilt_part(draw: st.DrawFn, part: Any) -> Any:
    hints = get_type_hints(type(part))
    if not hints:  # a plain number or text
        return draw(values(type(part)))
    name = draw(st.sampled_from(sorted(hints)))
    change = {name: draw(values(hints[name]))}
    return (
        part._replace(**change)
        if hasattr(part, "_replace")
        else dataclasses.replace(part, **change)
    )


READS = [(name, topic) for name, row in STAGES.items() for topic in row.reads]
ANY = {topic: st.one_of([records(kind) for kind in TOPICS[topic].records]) for topic in TOPICS}


def sound(record: Record) -> bool:
    """Whether its schema can hold it: nobody can send another."""
    try:
        return len(codec.encode(record)) < 3_000_000
    except ValueError:
        return False


def hostile(topic: str) -> st.SearchStrategy[Any]:
    """Records that anyone who may write to a topic can put there."""
    kinds = [ANY[topic], *([spoilt(topic)] if usual(topic) else [])]
    return st.one_of(kinds).filter(sound)


def sendable(record: Record) -> Record:
    assert len(codec.encode(record)) <= MOST_BYTES
    return record


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


class Run:
    """A stage in the midst of the flow: what it is given, and what is left of that."""

    def __init__(self, name: str) -> None:
        self.stage = stages_of(SETTINGS)[name]
        self.steps = StageSteps(self.stage, codec.installed(), sendable)
        self.store = PartitionStore[Any](self.stage.encode, self.stage.decode, 10**6)
        self.entries = taken()[name]
        self.at = 2 * len(self.entries) // 3
        for topic, raw, context in self.entries[: self.at]:
            self.steps.take(topic, raw, self.store, context)
        assert self.steps.checkpoint(self.store) == ()

    def take(self, topic: str, record: Record, context: StepContext) -> str:
        """Take a record in; how that ended. All that follows from it can be sent and saved."""
        raw, began = Raw(0, NOW, key_of(record), codec.encode(record)), time.process_time()
        outcome, made, others = self.steps.take(topic, raw, self.store, context)
        letters = [each for each in made if isinstance(each, DeadLetter)]
        assert others == ()
        assert outcome != "failed", letters
        assert time.process_time() - began < LONGEST_S, record
        began = time.process_time()
        assert self.steps.checkpoint(self.store) == ()
        assert all(len(value or b"") < MOST_BYTES for _, value in self.store.save())
        assert time.process_time() - began < LONGEST_S, record
        return outcome

    def go_on(self) -> tuple[list[Record], list[tuple[str, bytes]]]:
        """Take in the rest of the flow: what it leads to, and every row at its end."""
        made: list[Record] = []
        for topic, raw, context in self.entries[self.at :]:
            began = time.process_time()
            outcome, outputs, others = self.steps.take(topic, raw, self.store, context)
            assert (outcome, others) == ("done", ()), outputs
            assert time.process_time() - began < LONGEST_S
            made += outputs
        return made, [(key, self.stage.encode(self.store[key])) for key in self.store]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(READS), st.data())
def test_hostile_records_are_refused_without_a_trace_or_leave_a_flow_that_goes_on(
    reads: tuple[str, str], data: st.DataObject
) -> None:
    name, topic = reads
    run, clean = Run(name), Run(name)
    bad = data.draw(st.lists(hostile(topic), min_size=1, max_size=4))
    outcomes = {run.take(topic, record, StepContext(0, NOW, CATALOG)) for record in bad}
    left, expected = run.go_on(), clean.go_on()
    if outcomes == {"dead"}:
        assert left == expected


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["catalog", "instances"]), st.data())
def test_hostile_records_in_a_view_end_no_step(topic: str, data: st.DataObject) -> None:
    read, seen = view_decoder(topic, codec.decode), list[Record]()
    for record in data.draw(st.lists(hostile(topic), max_size=6)):
        try:
            seen.append(read(codec.encode(record)))
        except ValueError:
            assert topic == "instances"
    catalog = Catalog.of([*CATALOG, *(r for r in seen if isinstance(r, CatalogEntry))])
    flow = ReplayedFlow(SETTINGS, catalog)
    flow.instances |= {r.instance_id: r for r in seen if isinstance(r, Instance)}
    for fed in log():
        began = time.process_time()
        failed = [r.reason for r in flow.feed(fed) if isinstance(r, DeadLetter)]
        assert not [reason for reason in failed if "failed" in reason]
        assert time.process_time() - began < 3 * LONGEST_S


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(TOPOLOGY.stored), st.data())
def test_rows_can_be_made_of_hostile_records(topic: str, data: st.DataObject) -> None:
    record = data.draw(hostile(topic))
    rows = RecordRows(table for table in STORED_TABLES if isinstance(record, table.record))
    began = time.process_time()
    made = list(rows.of(record, offset=1))
    assert time.process_time() - began < LONGEST_S, record
    assert not [v for _, row in made for v in row if isinstance(v, str) and "\0" in v]
