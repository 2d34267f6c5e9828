"""What holds for every model."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.models.arrival.gaps import GapHistogram
from streams.models.next_request import state_codec as rows
from streams.models.next_request.classifier import MODELS, NextServiceClassifier
from streams.models.next_request.mixture import MixtureConfig, NextRequestMixture
from streams.models.next_request.user_profile import UserProfile

every_model = pytest.mark.parametrize("name", MODELS)


def learnt(name: str, events: Iterable[tuple[str, str, int]]) -> NextServiceClassifier:
    model = NextServiceClassifier(name)
    for user, service, at_ms in events:
        model.learn_one({"user": user, "at_ms": at_ms}, service)
    return model


def some(count: int = 60) -> list[tuple[str, str, int]]:
    rng = random.Random(11)
    return [(rng.choice("xyz"), rng.choice("abcd"), n * 1_000) for n in range(count)]


def bytes_of(model: NextServiceClassifier) -> dict[str, bytes]:
    return {key: rows.encode(row) for key, row in model.state.items()}


def vector(model: NextServiceClassifier, user: str = "x") -> dict[Any, float]:
    found = model.predict_proba_one({"user": user})
    assert sum(found.values()) == pytest.approx(1.0)
    assert min(found.values()) > 0
    return found


@every_model
def test_predicting_changes_nothing(name: str) -> None:
    model = learnt(name, some())
    before = bytes_of(model)
    assert vector(model) == vector(model)
    assert bytes_of(model) == before


@every_model
def test_a_model_goes_on_from_its_bytes_as_it_was(name: str) -> None:
    model, again = learnt(name, some()), NextServiceClassifier(name)
    again.state = {k: rows.decode(b) for k, b in bytes_of(model).items()}
    for each in (model, again):
        each.learn_one({"user": "x", "at_ms": 99_000}, "b")
    assert vector(model) == vector(again)


@every_model
def test_the_same_events_make_the_same_model(name: str) -> None:
    assert bytes_of(learnt(name, some())) == bytes_of(learnt(name, some()))


@every_model
def test_a_model_that_learnt_nothing_keeps_all_for_the_unseen(name: str) -> None:
    assert list(vector(NextServiceClassifier(name))) == [""]
    assert NextServiceClassifier(name).predict_one({"user": "x"}) is None


@every_model
def test_a_user_without_history_has_a_vector(name: str) -> None:
    assert set(vector(learnt(name, some()), "stranger")) == {*"abcd", ""}


@every_model
def test_one_service_only_is_nearly_certain(name: str) -> None:
    assert vector(learnt(name, [("x", "a", n) for n in range(200)]))["a"] > 0.9


@every_model
def test_an_unseen_service_is_learnt_and_keeps_mass_for_the_next(name: str) -> None:
    model = learnt(name, [*some(), ("x", "new", 99_000)])
    assert {"new", ""} <= set(vector(model))


@every_model
def test_time_may_go_backwards_and_stand_still(name: str) -> None:
    vector(learnt(name, [("x", "a", 9_000), ("x", "b", 9_000), ("x", "a", 1_000), ("x", "b", 0)]))


@pytest.mark.parametrize("name", ["mixture", "mixture+rnn"])
def test_ten_thousand_services_are_taken_and_the_vector_stays_short(name: str) -> None:
    model = learnt(name, ((f"u{n % 50}", f"s{n}", n) for n in range(10_000)))
    assert len(vector(model, "u3")) <= 129
    assert max(len(data) for key, data in bytes_of(model).items() if key[0] == "u") < 2_048


def test_a_model_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="user-9"):
        NextServiceClassifier("user-9")


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=50), st.integers(0, 10**12))
def test_within_is_a_distribution(gaps: list[int], horizon: int) -> None:
    model = GapHistogram()
    for gap in gaps:
        model.learn_one(gap)
    assert 0.0 <= model.within(horizon) <= model.within(horizon * 2) <= 1.0 + 1e-9
    assert model.quantile(0.1) <= model.quantile(0.5) <= model.quantile(0.9)


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=50),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
)
def test_what_has_passed_is_taken_off_the_odds(gaps: list[int], horizon: int, passed: int) -> None:
    model = GapHistogram()
    for gap in gaps:
        model.learn_one(gap)
    later, before = model.within(horizon + passed), model.within(passed)
    hazard = model.within(horizon, passed_ms=passed)
    assert 0.0 <= hazard <= 1.0
    if before < 0.999:
        assert hazard == pytest.approx((later - before) / (1.0 - before))


def test_a_habit_that_is_overdue_is_the_more_likely_the_longer_it_is() -> None:
    model = GapHistogram()
    for _ in range(100):
        model.learn_one(60_000)
    soon = [model.within(5_000, passed_ms=passed) for passed in (0, 50_000, 58_000)]
    assert soon == sorted(soon)
    assert soon[0] == 0.0 < soon[-1]


def test_a_profile_is_bounded_however_long_its_user_stays() -> None:
    rng = random.Random(5)
    mixture, state = NextRequestMixture(MixtureConfig(keep=64)), dict[str, Any]()
    sizes = []
    for n in range(2_000):
        service, at_ms = f"s{rng.randrange(400)}", int(2 ** rng.uniform(0, 40))
        mixture.learn(state, "x", service, at_ms=at_ms, request_id=f"request-{n}" * 9)
        sizes.append(len(rows.encode(state["u/x"])))
    assert max(sizes[1_000:]) <= 2 * 2 * 64 + 4 * 64 + 150 + 140


@settings(max_examples=30)
@given(st.lists(st.integers(0, 300), max_size=80), st.integers(5, 9))
def test_a_profile_holds_the_last_requests_and_is_read_back_the_same(
    items: list[int], keep: int
) -> None:
    profile = UserProfile()
    for item in items:
        profile.append(item, keep)
    again = rows.decode(rows.encode(profile))
    for each in (profile, again):
        each.append(3, keep)
        assert len(each) <= 2 * keep
        assert each.items.tolist() == [*items, 3][-len(each) :]
        assert each.tail == [i + 1 for i in reversed([*[-1] * 5, *items, 3])][:5]
