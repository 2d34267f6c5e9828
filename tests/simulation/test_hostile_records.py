"""Whatever Avro can hold, on every topic of every stage: nothing ends, blocks or leaves a trace."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from extremes import NOW, hostile
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
from streams.flow.topology import STAGES, TOPOLOGY, key_of
from streams.pipeline.assembly import stages_of
from streams.pipeline.replay import ReplayedFlow
from streams.records import DeadLetter, Instance, Record
from streams.records.catalog import Catalog, CatalogEntry
from streams.stages.base import StepContext

LONGEST_S = 1.0


@cache
def usual(topic: str) -> list[Record]:
    """Records of the flow on a topic."""
    if topic == "catalog":
        return list(CATALOG)
    if topic == "instances":
        return [each for *_, context in taken()["allocator"] for each in context.instances.values()]
    found = [raw.value for name in STAGES for of, raw, _ in taken()[name] if of == topic]
    return [codec.decode(value or b"") for value in found[:60]]


READS = [(name, topic) for name, row in STAGES.items() for topic in row.reads]


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
    bad = data.draw(st.lists(hostile(topic, usual(topic)), min_size=1, max_size=4))
    outcomes = {run.take(topic, record, StepContext(0, NOW, CATALOG)) for record in bad}
    left, expected = run.go_on(), clean.go_on()
    if outcomes == {"dead"}:
        assert left == expected


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["catalog", "instances"]), st.data())
def test_hostile_records_in_a_view_end_no_step(topic: str, data: st.DataObject) -> None:
    read, seen = view_decoder(topic, codec.decode), list[Record]()
    for record in data.draw(st.lists(hostile(topic, usual(topic)), max_size=6)):
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
    record = data.draw(hostile(topic, usual(topic)))
    rows = RecordRows(table for table in STORED_TABLES if isinstance(record, table.record))
    began = time.process_time()
    made = list(rows.of(record, offset=1))
    assert time.process_time() - began < LONGEST_S, record
    assert not [v for _, row in made for v in row if isinstance(v, str) and "\0" in v]
