from __future__ import annotations

from streams.engine.input_lag import InputLag


def test_what_is_behind_the_last_batch_is_lag() -> None:
    lag = InputLag()
    lag.handle("requests", 3, 10)
    assert lag.records == 7


def test_the_topics_of_a_partition_are_counted_together() -> None:
    lag = InputLag()
    lag.handle("requests", 3, 10)
    lag.handle("outcomes", 5, 6)
    assert lag.records == 8


def test_markers_behind_the_last_record_are_no_lag() -> None:
    lag = InputLag()
    lag.handle("requests", 3, 5)
    lag.reach("requests", 3, 5)
    assert lag.records == 0


def test_what_waits_to_be_handled_when_the_end_is_reached_is_lag_without_the_markers() -> None:
    lag = InputLag()
    lag.handle("requests", 1, 5)
    lag.reach("requests", 3, 5)
    assert lag.records == 2
    lag.handle("requests", 3, 5)
    assert lag.records == 0


def test_what_comes_after_the_end_was_reached_is_lag() -> None:
    lag = InputLag()
    lag.reach("requests", 3, 5)
    lag.handle("requests", 6, 8)
    assert lag.records == 2


def test_what_waits_for_a_transaction_that_is_open_is_lag() -> None:
    lag = InputLag()
    lag.reach("requests", 5, 5, 20)
    assert lag.records == 20
    lag.reach("requests", 5, 26)  # it was rolled back
    assert lag.records == 0


def test_a_topic_of_which_nothing_was_handled_has_no_lag() -> None:
    lag = InputLag()
    lag.reach("requests", 5, 5)
    assert lag.records == 0
