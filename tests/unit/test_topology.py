"""One registration of a kind of record, and what follows from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from operator import attrgetter
from typing import get_args

import pytest
from harness import CHECKOUT

from streams.adapters.postgres.rows import Column, RecordRows, StoredTable, of_part, of_record
from streams.adapters.postgres.tables import TABLES, stored_tables
from streams.flow.declaration import SINK, FlowTopology, RecordKind, Topic
from streams.flow.diagram import mermaid
from streams.flow.topology import STAGES, TOPICS, TOPOLOGY
from streams.records import Record, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    receipt_id: str
    user: str
    lines: tuple[str, ...] = ()


FLOW = CHECKOUT / "docs" / "concepts" / "flow.md"
RECEIPT = RecordKind(Receipt, "receipt", attrgetter("user"))
RECEIPTS = Topic(name="receipts", kinds=(RECEIPT,), keyed_by="user", about="", stored=True)
RECEIPT_TABLE = StoredTable(
    name="receipts",
    record=Receipt,
    columns=tuple(of_record("receipt_id user")),
    key=("receipt_id",),
    pruned_by="at_ms",
)
LINE_TABLE = StoredTable(
    name="receipt_lines",
    record=Receipt,
    columns=(*of_record("receipt_id"), Column("position", "position"), Column("line", "part")),
    key=("receipt_id", "position"),
    parts=attrgetter("lines"),
    pruned_with="receipts",
)


def with_topics(*more: Topic) -> FlowTopology:
    return FlowTopology((*TOPICS.values(), *more), STAGES.values())


def test_a_kind_of_record_cannot_be_on_two_topics() -> None:
    again = Topic(name="again", kinds=(TOPICS["requests"].kinds[0],), keyed_by="user", about="")

    with pytest.raises(ValueError, match=r"Request.* is registered twice"):
        with_topics(again)


def test_every_member_of_the_vocabulary_is_registered() -> None:
    vocabulary = {kind for one in get_args(Record) for kind in get_args(one) or (one,)}

    assert vocabulary == set(TOPOLOGY.schemas.values())


def test_the_sink_reads_what_is_stored() -> None:
    assert with_topics(RECEIPTS).groups[SINK] == (*TOPOLOGY.stored, "receipts")


def test_what_stages_name_is_declared() -> None:
    named = {t for row in STAGES.values() for t in (*row.reads, *row.views, *row.writes)}

    assert named <= set(TOPICS)
    assert {topic.reported_by for topic in TOPICS.values()} - {""} <= set(STAGES)


def test_of_stages_without_state_none_can_be_lost() -> None:
    assert {name for name, row in STAGES.items() if not row.keeps} == {"interceptor", "feedback"}


def test_a_stored_kind_without_a_table_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Receipt .*no table is declared"):
        stored_tables(with_topics(RECEIPTS), TABLES)


def test_a_table_of_a_kind_that_is_not_stored_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Receipt .*its topic is not stored"):
        stored_tables(TOPOLOGY, (*TABLES, RECEIPT_TABLE))


def test_a_table_that_nothing_is_pruned_of_is_refused() -> None:
    with pytest.raises(TypeError, match="grow for ever"):
        StoredTable(name="t", record=Request, columns=(), key=())


def test_a_record_has_a_row_in_its_table_and_one_for_each_part() -> None:
    receipt = Receipt(receipt_id="r1", user="a\0b", lines=("tea", "milk"))

    assert list(RecordRows([RECEIPT_TABLE, LINE_TABLE]).of(receipt, 7)) == [
        ("receipts", ("r1", "a\u2400b")),
        ("receipt_lines", ("r1", 1, "tea")),
        ("receipt_lines", ("r1", 2, "milk")),
    ]


def test_columns_are_in_the_order_of_their_declaration() -> None:
    table = StoredTable(
        name="t",
        record=Receipt,
        columns=(
            Column("length", lambda row: len(row.record.user)),
            Column("kafka_offset", "offset"),
            *of_part("user"),
        ),
        key=("user",),
        pruned_by="at_ms",
    )

    assert list(RecordRows([table]).of(Receipt(receipt_id="r", user="ann"), 7)) == [
        ("t", (3, 7, "ann"))
    ]


def test_the_document_of_the_flow_lists_every_topic() -> None:
    rows = [
        f"| `{t.name}`{' (compacted)' if t.compacted else ''} | {t.keyed_by} | {t.about} |"
        for t in TOPICS.values()
    ]

    assert re.findall(r"^\| `.*$", FLOW.read_text(), re.MULTILINE) == rows


def test_the_picture_of_the_flow_is_that_of_the_topology() -> None:
    assert f"```mermaid\n{mermaid()}\n```\n" in FLOW.read_text()
