from __future__ import annotations

import logging

from streams.runtime.log_limit import MOST_WORDINGS, LogLimit


def said(limit: LogLimit, at_s: float, line: int = 1) -> str | None:
    record = logging.LogRecord("n", logging.ERROR, "p", line, "away for %d s", (at_s,), None)
    record.created = at_s
    return record.getMessage() if limit.filter(record) else None


def test_a_flood_of_one_origin_is_cut_and_what_was_kept_back_is_counted() -> None:
    limit = LogLimit(most=2, span_s=30.0)

    assert [said(limit, at / 10) is not None for at in range(5)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert said(limit, 31.0) == "away for 31 s (and 3 more like it before)"


def test_other_lines_are_not_held_up_by_a_flood() -> None:
    limit = LogLimit(most=1)
    for at in range(10):
        said(limit, at / 10)

    assert said(limit, 1.0, line=2) is not None


def test_what_is_said_now_and_then_is_never_cut() -> None:
    limit = LogLimit(most=2, span_s=30.0)

    assert all("more like it" not in (said(limit, 20.0 * at) or "more like it") for at in range(10))


def test_what_we_say_of_several_things_is_told_of_each() -> None:
    limit = LogLimit(most=1)
    lost = [
        logging.LogRecord("streams.engine", logging.ERROR, "p", 1, "lost on %d", (n,), None)
        for n in range(9)
    ]

    assert all(limit.filter(record) for record in lost)
    assert not limit.filter(lost[0])


def test_news_without_alarm_is_not_cut() -> None:
    limit = LogLimit(most=1)
    news = logging.LogRecord("n", logging.INFO, "p", 1, "so far", (), None)

    assert [limit.filter(news) for _ in range(3)] == [True] * 3


def test_what_we_say_in_ever_other_words_is_cut_in_the_end() -> None:
    limit = LogLimit(most=1)
    told = [
        logging.LogRecord("streams.mesh", logging.WARNING, "p", 1, "refused: %d", (n,), None)
        for n in range(2 * MOST_WORDINGS)
    ]

    assert sum(map(limit.filter, told)) == MOST_WORDINGS
