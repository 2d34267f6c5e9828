"""The table of metrics, its document, and how labels stay bounded."""

from __future__ import annotations

import re
import time
from threading import Thread

import pytest
from harness import CHECKOUT
from prometheus_client import Counter, generate_latest

from streams.adapters.metrics.definition import OTHER, PROCESSES, BoundedNames, MetricTable
from streams.adapters.metrics.document import markdown
from streams.adapters.metrics.endpoint import before_scrape, registry
from streams.adapters.metrics.outcomes import count
from streams.adapters.metrics.running_totals import RunningTotals
from streams.adapters.metrics.table import REQUESTS, TABLE, WAIT_SECONDS
from streams.records import Outcome, Result, Route

WORD = re.compile(r"\bforemesh_[a-z_]+")
NAME = re.compile(r"^# HELP (foremesh_\w+) ", re.MULTILINE)


def exposed(process: str) -> set[str]:
    return set(NAME.findall(generate_latest(registry(process)).decode()))


def value(metric: Counter, *labels: str) -> float:
    found: float = metric.labels(*labels)._value.get()
    return found


def outcome(**given: object) -> Outcome:
    fields: dict[str, object] = {
        "request_id": "r", "user": "ann", "tier": "gold", "pool": "p", "service": "shop",
        "at_ms": 1, "result": Result.MISS, "route": Route.STANDARD, "status": 200,
        "latency_ms": 1_500.0, "cold_ms": 1_400, "saved_ms": 0, "parts": (), **given,
    }  # fmt: skip
    return Outcome(**fields)  # type: ignore[arg-type]  # as given


def test_the_document_is_made_from_the_table() -> None:
    assert (CHECKOUT / "docs" / "reference" / "metrics.md").read_text() == markdown()


def test_every_metric_that_a_page_names_is_there() -> None:
    pages = [CHECKOUT / "README.md", *(CHECKOUT / "docs").rglob("*.md")]
    named = {name for page in pages for name in WORD.findall(page.read_text())}

    assert named
    assert named <= TABLE.rows.keys()


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_exposes_its_rows_of_the_table_and_nothing_else_of_ours(process: str) -> None:
    assert exposed(process) == {row.name for row in TABLE.of(process)}


def test_names_are_snake_case_and_only_counters_end_with_total() -> None:
    for row in TABLE.rows.values():
        assert re.fullmatch(r"foremesh_[a-z_]+", row.name)
        assert (row.kind == "counter") == row.name.endswith("_total")


def test_no_label_names_a_user_or_a_request() -> None:
    labels = {label for row in TABLE.rows.values() for label in row.labels}

    assert labels.isdisjoint({"user", "request", "request_id", "instance", "instance_id", "job"})


def test_a_name_is_defined_once() -> None:
    table = MetricTable()
    table.gauge("foremesh_a", "A.", on=["worker"])

    with pytest.raises(ValueError, match="foremesh_a is defined twice"):
        table.gauge("foremesh_a", "Again.", on=["worker"])


def test_what_is_no_process_exposes_nothing() -> None:
    with pytest.raises(ValueError, match="no process"):
        MetricTable().gauge("foremesh_a", "A.", on=["werker"])


def test_where_all_values_of_labels_are_known_each_series_begins_at_0() -> None:
    table = MetricTable()
    made = table.counter("foremesh_a_total", "A.", on=["worker"], what=("x", "y"))

    assert [sample.value for sample in next(iter(made.collect())).samples] == [0.0, 0.0]


def test_further_names_are_counted_together() -> None:
    names = BoundedNames(2)

    assert [names(name) for name in "abcab"] == ["a", "b", OTHER, "a", "b"]


def test_what_is_asked_for_is_set_before_it_is_read() -> None:
    made = TABLE.rows["foremesh_kafka_up"].metric
    before_scrape(lambda: made.set(0.5))  # type: ignore[attr-defined]  # it is a gauge

    assert "foremesh_kafka_up 0.5" in generate_latest(registry("keda")).decode()


def test_who_asks_at_once_has_figures_set_one_after_the_other() -> None:
    inside, most = list[int](), list[int]()

    def take_a_moment() -> None:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.005)
        inside.pop()

    before_scrape(take_a_moment)
    asking = [Thread(target=generate_latest, args=[registry("keda")]) for _ in range(4)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()

    assert most == [1, 1, 1, 1]


def test_a_counter_follows_a_sum_by_what_it_has_grown() -> None:
    counter, totals = Counter("foremesh_t_total", "T.", ["name"], registry=None), RunningTotals()
    for sums in ({"a": 2.0, "b": 1.0}, {"a": 2.5, "b": 3.0}):
        totals.follow_each(counter, BoundedNames(1), sums)

    assert (value(counter, "a"), value(counter, OTHER)) == (2.5, 3.0)


def test_a_request_that_waited_is_counted_with_its_wait() -> None:
    labels = ("shop", "gold", "miss", "standard")
    before, waited = value(REQUESTS, *labels), WAIT_SECONDS.labels("gold")._sum.get()
    count(outcome())

    assert value(REQUESTS, *labels) == before + 1
    assert WAIT_SECONDS.labels("gold")._sum.get() == pytest.approx(waited + 1.4)
