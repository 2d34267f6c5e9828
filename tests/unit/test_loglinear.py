from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.lab.models import spans
from streams.lab.models.contexts import KINDS, CaseContexts, contexts, numbered
from streams.lab.models.loglinear import LogLinear

RNG = np.random.default_rng(7)


def cases(*activities: list[int], at_ms: list[int] | None = None) -> CaseContexts:
    sizes = [len(case) for case in activities]
    flat = np.array([a for case in activities for a in case], np.int64)
    first = np.repeat(np.cumsum([0, *sizes[:-1]]), sizes)
    times = np.arange(len(flat)) * 1000 if at_ms is None else np.array(at_ms, np.int64)
    return CaseContexts(activities=flat, attributes=np.ones_like(flat), at_ms=times, first=first)


def test_a_new_model_gives_all_classes_the_same() -> None:
    model = LogLinear(kinds=3, contexts=9, classes=4)

    assert model.predict_proba(np.array([[0, 4, 8]])) == pytest.approx(0.25)


def test_predicting_changes_nothing() -> None:
    model = LogLinear(kinds=2, contexts=4, classes=3)
    seen, labels = np.array([[0, 2], [1, 3]]), np.array([0, 2])
    model.learn(seen, labels)
    first = model.predict_proba(seen)

    assert (model.predict_proba(seen) == first).all()


def test_a_useful_context_outweighs_a_useless_one() -> None:
    model = LogLinear(kinds=2, contexts=6, classes=2)
    labels = RNG.integers(0, 2, 3_000)
    seen = np.stack([labels, 2 + RNG.integers(0, 4, 3_000)], 1)
    for at in range(0, 3_000, 32):
        model.learn(seen[at : at + 32], labels[at : at + 32])

    found = model.predict_proba(np.array([[0, 5], [1, 5]]))
    assert found[0, 0] > 0.9
    assert found[1, 1] > 0.9


def test_revising_counts_nothing_twice() -> None:
    once, twice = (LogLinear(kinds=1, contexts=1, classes=2) for _ in range(2))
    seen, labels = np.zeros((40, 1), np.int64), np.array([0, 0, 0, 1] * 10)
    for model in (once, twice):
        model.learn(seen, labels)
    twice.revise(seen, labels)

    assert (once._counts == twice._counts).all()


def test_revising_does_not_trust_what_only_the_event_itself_said() -> None:
    # the second kind of context is new each time: what it counts never helps another event
    labels = RNG.integers(0, 2, 400)
    seen = np.stack([RNG.integers(0, 2, 400), 2 + np.arange(400)], 1)
    model = LogLinear(kinds=2, contexts=402, classes=2)
    model.learn(seen, labels)
    before = model._weights[1].copy()
    model.revise(seen, labels)

    assert (model._weights[1] == before).all()


@given(
    st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=1, max_size=40),
    st.integers(2, 6),
)
def test_probabilities_sum_to_one_whatever_was_learnt(rows: list[list[int]], classes: int) -> None:
    model = LogLinear(kinds=3, contexts=6, classes=classes)
    seen = np.array(rows)
    model.learn(seen, seen.sum(1) % classes)

    found = model.predict_proba(seen)
    assert found.sum(1) == pytest.approx(1, abs=1e-5)
    assert (found >= 0).all()


def test_contexts_do_not_depend_on_what_comes_later_or_on_other_cases() -> None:
    short = contexts(cases([1, 2, 1]))
    long = contexts(cases([1, 2, 1, 3, 3], [2, 2, 1]))

    assert short.shape == (3, KINDS)
    assert (long[:3] == short).all()


def test_the_bag_and_the_set_forget_order_and_the_path_does_not() -> None:
    one, other = contexts(cases([1, 2, 3])), contexts(cases([2, 1, 3]))
    path, bag, chosen = 5, 6, 7

    assert one[2, path] != other[2, path]
    assert one[2, bag] == other[2, bag]
    assert one[2, chosen] == other[2, chosen]


def test_a_repeat_changes_the_bag_but_not_the_set() -> None:
    one, other = contexts(cases([1, 1, 3])), contexts(cases([1, 3]))

    assert one[2, 6] != other[1, 6]
    assert one[2, 7] == other[1, 7]


def test_a_clock_that_goes_backwards_is_taken_as_no_time_passed() -> None:
    backwards = contexts(cases([1, 2], at_ms=[5_000, 0]))
    at_once = contexts(cases([1, 2], at_ms=[5_000, 5_000]))

    assert (backwards == at_once).all()


def test_contexts_of_different_kinds_have_different_numbers() -> None:
    rows, known = numbered(np.array([[7, 7], [7, 8]], np.uint64))

    assert rows.tolist() == [[0, 1], [0, 2]]
    assert known == 3


@given(st.integers(0, 10**11))
def test_a_certain_span_is_off_by_at_most_half_an_octave(span_ms: int) -> None:
    certain = np.zeros((1, spans.CLASSES))
    certain[0, spans.class_of(np.array([span_ms]))] = 1
    median = float(spans.median_ms(certain)[0])

    assert median == 0 if span_ms < 1000 else 0.7 <= median / span_ms <= 1.42


def test_the_median_span_halves_the_probability() -> None:
    even = np.full((1, spans.CLASSES), 1 / spans.CLASSES)

    found = spans.median_ms(even)

    assert int(spans.class_of(found.astype(np.int64))[0]) == spans.CLASSES // 2
