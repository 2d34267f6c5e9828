from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.allocator.valuation.occupancy import Floats, fill_uses

MEAN = st.floats(0.01, 500.0)
SERVING = st.floats(0.001, 1.5)  # share of the horizon that a request keeps an instance busy
AT_ONCE = st.integers(1, 5)
Row = tuple[float, float, int]  # expected requests, share of the horizon, requests at once
ROWS = st.lists(st.tuples(MEAN, SERVING, AT_ONCE), min_size=1, max_size=8)


def table(rows: list[Row], *, most: int = 12, least: float = 0.0) -> Floats:
    found = np.empty((len(rows), most))
    used = [
        fill_uses(uses, mean, mean * serving, at_once, least)
        for uses, (mean, serving, at_once) in zip(found, rows, strict=True)
    ]
    return found[:, : max(used)]


def uses(
    mean: float, serving: float, at_once: int = 1, *, most: int = 12, least: float = 0.0
) -> list[float]:
    found: list[float] = table([(mean, serving, at_once)], most=most, least=least)[0].tolist()
    return found


def all_busy(servers: int, load: float) -> float:
    """Erlang's loss formula as he wrote it."""
    terms = [load**n / math.factorial(n) for n in range(servers + 1)]
    return terms[-1] / math.fsum(terms)


@given(mean=MEAN, serving=st.floats(0.001, 0.1), at_once=AT_ONCE)
def test_an_instance_is_used_by_the_requests_that_find_all_before_it_busy(
    mean: float, serving: float, at_once: int
) -> None:
    found = uses(mean, serving, at_once, most=8)
    exact = [mean * all_busy(k * at_once, mean * serving) for k in range(len(found))]
    assert found == pytest.approx(exact, rel=1e-9)


def test_three_requests_a_second_that_take_a_second_are_as_in_the_tables() -> None:
    """Erlang's B of a load of 3: 3/4, 9/17, 9/26, 27/131."""
    found = uses(3.0, 1.0, most=5)
    assert found == pytest.approx([3 * each for each in (1, 3 / 4, 9 / 17, 9 / 26, 27 / 131)])


@given(rows=ROWS)
def test_the_first_instance_is_used_by_every_request(rows: list[Row]) -> None:
    assert table(rows)[:, 0].tolist() == [mean for mean, _, _ in rows]


@given(rows=ROWS)
def test_a_further_instance_is_never_used_more_often_than_the_one_before_it(
    rows: list[Row],
) -> None:
    found = table(rows)
    assert (np.diff(found, axis=1) <= 0.0).all()
    assert (found >= 0.0).all()


@given(mean=MEAN, serving=SERVING, longer=st.floats(1.0, 3.0), at_once=AT_ONCE)
def test_the_longer_requests_take_the_more_every_instance_is_used(
    mean: float, serving: float, longer: float, at_once: int
) -> None:
    short, long = table([(mean, serving, at_once), (mean, serving * longer, at_once)])
    assert (long >= short * (1 - 1e-12)).all()


@given(mean=MEAN, more=st.floats(1.0, 3.0), serving=SERVING, at_once=AT_ONCE)
def test_the_more_requests_there_are_the_more_every_instance_is_used(
    mean: float, more: float, serving: float, at_once: int
) -> None:
    few, many = table([(mean, serving, at_once), (mean * more, serving, at_once)])
    assert (many >= few * (1 - 1e-12)).all()


@given(mean=MEAN, serving=SERVING, at_once=AT_ONCE)
def test_an_instance_that_serves_several_at_once_counts_as_that_many(
    mean: float, serving: float, at_once: int
) -> None:
    shared, single = uses(mean, serving, at_once, most=4), uses(mean, serving, most=16)
    single += [0.0] * (16 - len(single))
    assert shared == pytest.approx(single[::at_once][: len(shared)], rel=1e-12)


@given(rows=ROWS, least=st.floats(0.0, 2.0))
def test_many_at_once_are_each_what_it_is_alone(rows: list[Row], least: float) -> None:
    for found, row in zip(table(rows, least=least), rows, strict=True):
        alone = uses(*row, least=least)
        assert found[: len(alone)].tolist() == alone
        assert not found[len(alone) :].any()


@given(rows=ROWS, least=st.floats(0.001, 50.0))
def test_a_further_instance_used_less_than_the_least_counts_as_unused(
    rows: list[Row], least: float
) -> None:
    whole, cut = table(rows), table(rows, least=least)
    kept = whole[:, : cut.shape[1]]
    assert cut[:, 0].tolist() == kept[:, 0].tolist()
    assert cut[:, 1:].tolist() == np.where(kept >= least, kept, 0.0)[:, 1:].tolist()
    assert (whole[:, cut.shape[1] :] < least).all()


@given(rows=ROWS, most=st.integers(1, 6), least=st.floats(0.0, 50.0))
def test_there_are_as_many_columns_as_some_row_uses_and_at_most_the_most(
    rows: list[Row], most: int, least: float
) -> None:
    found = table(rows, most=most, least=least)
    assert 1 <= found.shape[1] <= most
    assert found[:, -1].any()


def test_where_nothing_is_asked_one_instance_is_used_by_nobody() -> None:
    assert table([(0.0, 0.1, 1), (0.0, 0.5, 3)]).tolist() == [[0.0], [0.0]]


def test_requests_that_hardly_overlap_need_one_instance() -> None:
    found = uses(20.0, 0.001)
    assert found[1] == pytest.approx(20.0 * 0.02 / 1.02)
    assert sum(each > 0.1 for each in found) == 2
