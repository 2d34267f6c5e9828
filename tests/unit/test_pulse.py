from __future__ import annotations

import logging
import threading

import pytest

from streams.adapters.metrics import pulse
from streams.adapters.metrics.definition import PROCESSES
from streams.adapters.metrics.table import KAFKA_UP, LAG, ROWS


def test_a_line_says_what_was_done_since_the_last_one_and_what_is_left() -> None:
    before = {"records read": 10.0, "rows written": 5.0, "records behind": 0.0}
    after = {"records read": 1_244.0, "rows written": 1_205.0, "records behind": 7.0}
    assert pulse.line("sink", before, after) == (
        "sink works: 1,234 records read, 1,200 rows written, 7 records behind"
    )


def test_the_figures_are_the_sums_of_the_metrics_that_a_process_exposes() -> None:
    before = pulse.figures_of("sink")
    ROWS.labels("outcomes").inc(3)
    ROWS.labels("commands").inc(4)
    LAG.labels("sink", "0").set(2)
    after = pulse.figures_of("sink")
    assert after["rows written"] - before["rows written"] == 7
    assert set(after) == {"records read", "rows written", "records behind"}
    LAG.labels("sink", "0").set(0)


@pytest.mark.parametrize("process", PROCESSES)
def test_every_process_has_something_to_say(process: str) -> None:
    figures = pulse.figures_of(process)
    assert pulse.line(process, figures, figures).startswith(f"{process} works: ")


@pytest.mark.parametrize("up", [0, 1])
def test_a_process_says_that_it_works_while_kafka_answers(
    caplog: pytest.LogCaptureFixture, up: int
) -> None:
    caplog.set_level(logging.INFO)
    KAFKA_UP.set(up)
    asked = threading.Semaphore(0)
    over = pulse.start("sink", asked.release, every_s=0.01)
    for _ in range(3):
        assert asked.acquire(timeout=20)  # so the line of the first time has been said, or not
    over.set()
    said = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("sink works: 0 records read") for line in said) is bool(up)
    KAFKA_UP.set(0)


def test_figures_that_cannot_be_made_end_no_lines(caplog: pytest.LogCaptureFixture) -> None:
    asked = threading.Semaphore(0)

    def refresh() -> None:
        asked.release()
        raise RuntimeError("dictionary changed size during iteration")

    over = pulse.start("sink", refresh, every_s=0.01)
    for _ in range(3):
        assert asked.acquire(timeout=20)
    over.set()
    assert "dictionary changed size" in caplog.text
