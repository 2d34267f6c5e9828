"""Contexts of the members that are no orders: parameters, the hour, the first service."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.models.next_request import state_codec as rows
from streams.models.next_request.classifier import NextServiceClassifier
from streams.models.next_request.parameters import RequestParameters
from streams.models.next_request.state_keys import hour_of

HOUR_MS = 3_600_000
texts = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=30)


def chance(model: NextServiceClassifier, service: str, **x: Any) -> float:
    return model.predict_proba_one({"user": "x", **x}).get(service, 0.0)


@pytest.mark.parametrize("name", ["parameters", "mixture"])
def test_what_follows_depends_on_the_parameters_of_the_request(name: str) -> None:
    model, rng = NextServiceClassifier(name), random.Random(1)
    for n in range(2_000):
        mode = rng.choice(["draft", "final"])
        x = {"user": f"u{n % 7}", "at_ms": n, "parameters": {"mode": mode, "case": str(n)}}
        model.learn_one(x, "render")
        model.learn_one({"user": f"u{n % 7}", "at_ms": n}, "edit" if mode == "draft" else "send")

    model.learn_one({"user": "x", "parameters": {"case": "new", "mode": "final"}}, "render")

    assert chance(model, "send") > 0.8


@pytest.mark.parametrize("name", ["hour", "mixture"])
def test_what_is_asked_for_depends_on_the_hour(name: str) -> None:
    model = NextServiceClassifier(name)
    for day, hour in itertools.product(range(60), range(24)):
        at_ms = (day * 24 + hour) * HOUR_MS
        for n in range(2):
            model.learn_one({"user": f"u{day % 9}", "at_ms": at_ms + n}, "login")
            model.learn_one({"user": f"u{day % 9}", "at_ms": at_ms + n}, "ab"[6 <= hour < 18])

    model.learn_one({"user": "x", "at_ms": (60 * 24 + 3) * HOUR_MS}, "login")

    assert chance(model, "a") > 0.8


@pytest.mark.parametrize("name", ["cohort", "mixture"])
def test_a_user_with_little_history_is_like_those_who_began_with_the_same(name: str) -> None:
    model = NextServiceClassifier(name)
    for user, step in itertools.product(range(60), range(6)):
        kind = "shop" if user % 2 else "bank"
        service = kind if step == 0 else ["home", f"{kind}-page"][step % 2]
        model.learn_one({"user": f"u{user}", "at_ms": user}, service)

    for service in ("shop", "shop-page", "home"):
        model.learn_one({"user": "x", "at_ms": 99}, service)

    assert chance(model, "shop-page") > 0.7


@given(st.lists(texts, max_size=40))
def test_parameters_are_read_back_the_same_and_bounded_whatever_users_send(
    sent: list[dict[str, str]],
) -> None:
    parameters = RequestParameters()
    for one in sent:
        parameters.learn(one)
        assert not parameters.learn(one)

    back = rows.decode(rows.encode(parameters))

    assert rows.encode(back) == rows.encode(parameters)
    for one in sent:
        assert back.hash_of(one) == parameters.hash_of(dict(reversed(one.items())))
    assert len(rows.encode(parameters)) < 16 * (64 * 5 + 40)


def test_hours_of_weekends_are_apart() -> None:
    thursday, saturday = 15 * HOUR_MS, (48 + 15) * HOUR_MS

    assert (hour_of(thursday), hour_of(saturday), hour_of(saturday + 24 * HOUR_MS)) == (15, 39, 39)
    assert hour_of(saturday + 48 * HOUR_MS) == 15
