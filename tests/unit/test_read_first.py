from __future__ import annotations

from streams.engine.read_first import ReadFirst


def test_without_topics_nothing_is_waited_for() -> None:
    assert ReadFirst().read
    assert ReadFirst().processed({})


def test_the_others_wait_until_each_of_them_was_fetched_to_its_end() -> None:
    first = ReadFirst(("control", "limits"))
    first.reached("demand")
    first.reached("control")
    assert not first.read
    first.reached("limits")
    assert first.read


def test_a_tick_waits_until_what_was_fetched_of_them_is_processed() -> None:
    first = ReadFirst(("control",))
    first.fetched("control", 7)
    first.reached("control")
    assert not first.processed({})
    assert not first.processed({"control": 6, "demand": 9})
    assert first.processed({"control": 7})


def test_one_without_records_is_at_its_end_whatever_its_offset() -> None:
    first = ReadFirst(("control",))
    assert not first.processed({})
    first.reached("control")
    assert first.processed({})


def test_what_comes_after_its_end_holds_up_nothing() -> None:
    first = ReadFirst(("control",))
    first.reached("control")
    first.fetched("control", 1_000)
    assert first.processed({})
