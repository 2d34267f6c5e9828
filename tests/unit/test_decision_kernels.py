"""What a decision finds as machine code is what Python finds one constituent after the other."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.allocator.valuation.advice_times import NEVER_MS, earliest, stale, unsettled
from streams.allocator.valuation.leanings import ORDER, differing, doublings, is_news
from streams.allocator.valuation.paying import (
    first_that_pay,
    further_that_may_pay,
    worth_too_little,
)
from streams.records.verdicts import Choice

NUMBER, AMOUNT = st.integers(-1, 3), st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.5, 40.0, 1e9])
TIME_MS = st.sampled_from([0, 5, 10, 15, NEVER_MS])


def rows(*kinds: st.SearchStrategy[float]) -> st.SearchStrategy[list[tuple[float, ...]]]:
    return st.lists(st.tuples(*kinds), max_size=6)


SAID = st.sampled_from([ORDER.index(Choice.KEEP), ORDER.index(Choice.LEAVE)])


@given(found=rows(st.integers(0, 3), AMOUNT, AMOUNT, AMOUNT, AMOUNT, SAID, st.integers(-7, 6)))
def test_verdicts_differ_where_one_alone_would_be_news(found: list[tuple[float, ...]]) -> None:
    have, last, keep_cost, first, start_cost, *told = np.array(found).reshape(-1, 7).T.copy()
    said = np.array(told, np.int64)
    expected = [
        part
        for part, (count, *values, choice, log2) in enumerate(found)
        for value, cost in [values[:2] if count else values[2:]]
        for now in [Choice.KEEP if count else Choice.LEAVE]
        if is_news((ORDER.index(now), doublings(value, cost)), (int(choice), int(log2)))
    ]
    keep, leave = (last, keep_cost), (first, start_cost)
    assert differing(have.astype(np.int64), keep, leave, said) == expected


@given(found=rows(NUMBER, TIME_MS, st.integers(1, 2), st.floats(1, 2.9)), now_ms=TIME_MS)
def test_advice_is_stale_once_its_time_is_over_or_starts_take_another(
    found: list[tuple[float, ...]], now_ms: int
) -> None:
    *known, warm_up_ms = zip(*found, strict=True) if found else ((), (), (), ())
    to_keep, until_ms, known_ms = (np.array(column, np.int64) for column in known)
    assert stale(to_keep, until_ms, known_ms, np.array(warm_up_ms, np.float64), now_ms) == [
        part
        for part, (number, until, told, now) in enumerate(found)
        if until <= now_ms or (number >= 0 and told != int(now))
    ]


@given(until_ms=st.lists(TIME_MS, max_size=6), now_ms=st.integers(0, 20))
def test_the_earliest_is_the_first_to_end_after_now(until_ms: list[int], now_ms: int) -> None:
    later = [(end, part) for part, end in enumerate(until_ms) if now_ms < end < NEVER_MS]
    assert earliest(np.array(until_ms, np.int64), now_ms) == min(later, default=(0, -1))[1]


@given(found=rows(NUMBER, NUMBER, NUMBER))
def test_a_number_is_unsettled_where_a_past_is_told_another(
    found: list[tuple[float, ...]],
) -> None:
    columns = np.array(found, np.int64).reshape(-1, 3).T.copy()
    expected = [part for part, (keep, had, now) in enumerate(found) if keep >= 0 and had != now]
    assert unsettled(*columns) == expected


@given(found=rows(st.integers(0, 3), NUMBER, NUMBER, AMOUNT, AMOUNT, AMOUNT, AMOUNT))
def test_what_pays_is_what_pays_alone(found: list[tuple[float, ...]]) -> None:
    have, least, advised, asked, worth, serving, cost = np.array(found).reshape(-1, 7).T.copy()
    had, low, told = (column.astype(np.int64) for column in (have, least, advised))
    assert first_that_pay(had, worth, cost) == [
        part for part in range(len(found)) if have[part] == 0 and worth[part] > cost[part]
    ]
    assert further_that_may_pay(had, low, told, (asked, worth, serving), cost) == [
        part
        for part in range(len(found))
        if have[part] >= max(1, least[part])
        and (
            advised[part] > have[part]
            or worth[part] * min(1.0, asked[part] * serving[part]) > cost[part]
        )
    ]
    assert worth_too_little(had, low, worth, cost, 0.5) == [
        part
        for part in range(len(found))
        if have[part] > 0 and (worth[part] < cost[part] * 0.5 or have[part] > least[part])
    ]
