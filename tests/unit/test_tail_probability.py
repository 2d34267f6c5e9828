from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.allocator.valuation import tail_probability

PROBABILITIES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40)


def at_least(mean: float, variance: float, most: int) -> list[float]:
    tails: list[float] = tail_probability.at_least(mean, variance, most)[0].tolist()
    return tails


def used(mean: float, variance: float, *, overlap: float, at_once: int, most: int) -> list[float]:
    chances, _ = tail_probability.used(
        np.array([mean]),
        np.array([variance]),
        overlap=np.array([overlap]),
        at_once=np.array([at_once]),
        most=most,
    )
    found: list[float] = chances[chances > 0.0].tolist()
    return found


def exact(probabilities: list[float], most: int) -> list[float]:
    """P(N >= k) by convolution."""
    mass = [1.0]
    for p in probabilities:
        with_none, with_one = [*mass, 0.0], [0.0, *mass]
        mass = [(1 - p) * a + p * b for a, b in zip(with_none, with_one, strict=True)]
    return [sum(mass[k:]) for k in range(1, most + 1)]


def moments(probabilities: list[float]) -> tuple[float, float]:
    return sum(probabilities), sum(p * (1 - p) for p in probabilities)


@given(p=st.floats(0.0, 1.0), n=st.integers(1, 60))
def test_the_tail_is_exact_when_all_users_are_alike(p: float, n: int) -> None:
    users = [p] * n
    assert at_least(*moments(users), most=n) == pytest.approx(exact(users, n), abs=1e-5)


@given(users=st.lists(st.floats(0.0, 0.1), min_size=1, max_size=60))
def test_the_tail_is_close_when_users_are_improbable(users: list[float]) -> None:
    assert at_least(*moments(users), most=8) == pytest.approx(exact(users, 8), abs=0.02)


@given(users=PROBABILITIES)
def test_the_tail_is_never_far_from_the_exact_one(users: list[float]) -> None:
    assert at_least(*moments(users), most=10) == pytest.approx(exact(users, 10), abs=0.25)


def test_the_tail_of_very_many_users_is_normal() -> None:
    users = [0.3, 0.5, 0.7] * 400
    most = 700
    assert at_least(*moments(users), most=most) == pytest.approx(exact(users, most), abs=1e-3)


@given(
    users=PROBABILITIES,
    overlap=st.floats(0.001, 1.0),
    at_once=st.integers(1, 4),
)
def test_a_further_instance_is_never_more_likely_used(
    users: list[float], overlap: float, at_once: int
) -> None:
    mean, variance = moments(users)
    chances = used(mean, variance, overlap=overlap, at_once=at_once, most=20)
    assert chances == sorted(chances, reverse=True)
    assert all(0.0 <= chance <= 1.0 for chance in chances)
    assert chances[0] == pytest.approx(at_least(mean, variance, 1)[0]) if chances else mean < 1e-5


def test_requests_that_hardly_overlap_need_one_instance() -> None:
    many = used(20.0, 15.0, overlap=0.001, at_once=1, most=64)
    assert many[0] == pytest.approx(1.0, abs=1e-6)
    assert many[1] == pytest.approx(1 - 2.718281828 ** (-20 * 0.02), abs=0.02)
    assert sum(chance > 0.1 for chance in many) <= 2


def test_an_instance_that_serves_several_is_needed_less_often() -> None:
    single = used(10.0, 8.0, overlap=0.5, at_once=1, most=64)
    shared = used(10.0, 8.0, overlap=0.5, at_once=4, most=64)
    assert shared[1] == pytest.approx(single[4])
    assert len(shared) < len(single)


@given(
    rows=st.lists(st.tuples(PROBABILITIES, st.floats(0.001, 1.0), st.integers(1, 4)), min_size=2)
)
def test_many_at_once_are_each_what_it_is_alone(
    rows: list[tuple[list[float], float, int]],
) -> None:
    means, variances = np.array([moments(users) for users, _, _ in rows]).T
    together, _ = tail_probability.used(
        means,
        variances,
        overlap=np.array([overlap for _, overlap, _ in rows]),
        at_once=np.array([at_once for _, _, at_once in rows]),
        most=12,
    )
    for row, mean, variance, (_, overlap, at_once) in zip(
        together, means, variances, rows, strict=True
    ):
        alone = used(mean, variance, overlap=overlap, at_once=at_once, most=12)
        assert row[: len(alone)] == pytest.approx(alone, abs=1e-9)
        assert not row[len(alone) :].any()


def test_an_instance_is_used_as_often_as_requests_find_all_before_it_busy() -> None:
    _, uses = tail_probability.used(
        np.array([30.0]),
        np.array([30.0]),
        overlap=np.array([0.02]),
        at_once=np.array([1]),
        most=8,
    )
    in_service = 30.0 * 0.02
    assert uses[0, 0] == 30.0
    assert uses[0, 1] == pytest.approx(30.0 * (1 - np.exp(-in_service)), rel=1e-3)
    assert uses[0, 2] == pytest.approx(
        30.0 * (1 - np.exp(-in_service) * (1 + in_service)), rel=0.01
    )
    assert sorted(uses[0], reverse=True) == uses[0].tolist()
