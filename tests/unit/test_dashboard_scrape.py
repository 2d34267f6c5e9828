from __future__ import annotations

import pytest

from streams.dashboard.scrape import scraped, told_by

TEXT = """\
# TYPE foremesh_lag gauge
foremesh_lag{stage="sink",partition="0"} 2.0
foremesh_lag{stage="sink",partition="1"} 3.0
# TYPE foremesh_failed_ticks counter
foremesh_failed_ticks_total{stage="allocator",partition="0"} 1.0
# TYPE foremesh_kafka_up gauge
foremesh_kafka_up 1.0
"""


def test_a_process_tells_its_lag_and_whether_it_has_kafka() -> None:
    told = told_by("metrics worker", TEXT)

    assert told.ok
    assert told.says == "Kafka answers, 5 records behind, 1 ticks have failed"


def test_a_process_that_has_lost_kafka_is_wrong() -> None:
    told = told_by("metrics worker", TEXT.replace("foremesh_kafka_up 1.0", "foremesh_kafka_up 0.0"))

    assert told.state == "wrong"
    assert told.says.startswith("has lost Kafka")


def test_what_tells_nothing_of_foremesh_answers() -> None:
    assert told_by("metrics x", "").says == "answers"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/metrics", "nothing", "file:///nothing"])
def test_an_endpoint_that_does_not_answer_is_wrong_with_its_address(url: str) -> None:
    (told,) = scraped([url])

    assert told.state == "wrong"
    assert url in told.says
