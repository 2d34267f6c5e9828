"""The recurrent network beside the mixture."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from former import before_phases
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from streams.models.next_request import state_codec as rows
from streams.models.next_request.classifier import NextServiceClassifier
from streams.models.next_request.mixture import MixtureConfig, NextRequestMixture
from streams.models.next_request.network_expert import NetworkState
from streams.models.next_request.state_keys import NETWORK
from streams.models.recurrent.network import (
    GAPS,
    OWN,
    ROWS,
    SHARED,
    STEPS,
    WIDTH,
    first_services,
    first_unit,
    gap_of,
    no_trail,
    row_of,
)
from streams.models.recurrent.unit import PASS, follow, learn_unit, tanh
from streams.pipeline.assembly import stages_of
from streams.settings import Settings
from streams.stages.profiler import ProfilerStage

Event = tuple[str, str, int]
kept = njit(error_model="numpy", cache=True)  # beside the kernels of the models


def walked(events: Iterable[Event], *, rnn: bool = True) -> dict[str, Any]:
    mixture, state = NextRequestMixture(MixtureConfig(rnn=rnn)), dict[str, Any]()
    learn(mixture, state, events)
    return state


def learn(mixture: NextRequestMixture, state: dict[str, Any], events: Iterable[Event]) -> None:
    for number, (user, service, at_ms) in enumerate(events):
        mixture.learn(state, user, service, at_ms=at_ms, request_id=f"{number} {at_ms}")


def some(count: int, users: int = 5, services: int = 9, start_ms: int = 0) -> list[Event]:
    rng = random.Random(3)
    return [
        (f"u{rng.randrange(users)}", f"s{rng.randrange(services)}", start_ms + 1_000 * n)
        for n in range(count)
    ]


def learnt_tail(model: NextServiceClassifier, rounds: int) -> float:
    """Mean probability given to the last of "order, b, c, d, order" or the like, in the end."""
    rng, given_to = random.Random(5), []
    for n in range(rounds):
        first = rng.choice(["red", "blue"])
        for step, service in enumerate((first, "b", "c", "d", first)):
            if step == 4 and n >= rounds - 50:
                given_to.append(model.predict_proba_one({"user": "ann"})[service])
            model.learn_one({"user": "ann", "at_ms": 1_000 * n}, service)
    return sum(given_to) / len(given_to)


def bytes_of(state: dict[str, Any]) -> dict[str, bytes]:
    return {key: rows.encode(row) for key, row in state.items()}


def test_it_learns_what_depends_on_the_service_four_steps_ago() -> None:
    assert learnt_tail(NextServiceClassifier("rnn"), 800) > 0.9


def test_no_model_of_order_one_learns_that() -> None:
    assert learnt_tail(NextServiceClassifier("user-1"), 300) < 0.6
    assert learnt_tail(NextServiceClassifier("global-1"), 300) < 0.6


def test_what_follows_a_long_gap_is_told_from_what_follows_a_short_one() -> None:
    model, rng, at_ms, right = NextServiceClassifier("rnn"), random.Random(2), 0, 0.0
    for n in range(3_000):
        late = rng.random() < 0.5
        at_ms += 3_600_000 if late else 1_000
        model.learn_one({"user": f"u{n % 3}", "at_ms": at_ms}, "ask")
        follows = "rest" if late else "go on"
        if n >= 2_900:
            right += model.predict_proba_one({"user": f"u{n % 3}"})[follows]
        model.learn_one({"user": f"u{n % 3}", "at_ms": at_ms + 10}, follows)
    assert right / 100 > 0.55


@kept
def state_after(unit: Any, services: Any, trail: Any, run: Any) -> Any:
    return follow(unit[0], services, trail[0], run[0]).copy()


@kept
def learn_back(unit: Any, services: Any, trail: Any, run: Any, back: Any) -> None:
    learn_unit(unit[0], services, trail[0], run[0], back)


@kept
def tangents(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.array([tanh(value) for value in values])


def test_a_step_goes_along_the_gradient() -> None:
    rng, unit, services = np.random.default_rng(1), first_unit(), first_services(0, 8)
    trail, run = no_trail(), np.zeros(1, PASS)
    trail["hidden"] = rng.integers(-30_000, 30_000, WIDTH)
    trail["rows"], trail["gaps"], trail["length"] = [2, 3, 2, 5], [0, 3, 4, 3], STEPS
    pull = rng.normal(0, 1e-3, WIDTH).astype(np.float32)
    # While sums of squares are far below the calm, all steps are as long.
    before = state_after(unit, services, trail, run) @ pull
    moved, others = unit.copy(), services.copy()
    learn_back(moved, others, trail, run, pull.copy())
    squares = sum(
        float(((after[name] - first[name]).astype(np.float64) ** 2).sum())
        for first, after, names in (
            (unit, moved, ("inputs", "recurrent", "gaps")),
            (services, others, ("given",)),
        )
        for name in names
    )
    after = state_after(moved, others, trail, run) @ pull
    assert before - after == pytest.approx(squares / 1.5, rel=0.05)


def test_the_hyperbolic_tangent_is_one() -> None:
    values = np.linspace(-30, 30, 6_001).astype(np.float32)
    assert tangents(values) == pytest.approx(np.tanh(values), abs=2e-6)


def test_what_is_read_back_learns_on_as_what_was_written() -> None:
    state, mixture = walked(some(700)), NextRequestMixture(MixtureConfig(rnn=True))
    again = {key: rows.decode(data) for key, data in bytes_of(state).items()}
    for each in (state, again):
        learn(mixture, each, some(200, start_ms=10**7))
    assert bytes_of(state) == bytes_of(again)
    assert state[NETWORK].joint["everywhere"]["steps"][0] > 800


def test_the_same_requests_make_the_same_network() -> None:
    assert bytes_of(walked(some(300))) == bytes_of(walked(some(300)))


def test_damaged_bytes_are_refused() -> None:
    data = rows.encode(walked(some(40))[NETWORK])
    for end in (2, 100, 30_000, len(data) - 7):
        with pytest.raises(ValueError, match="truncated"):
            rows.decode(data[:end])


def test_bytes_are_bounded_however_many_services_and_users_there_are() -> None:
    state = walked((f"u{n % 40}", f"s{n}", n) for n in range(2_000))
    alone = walked(((f"u{n % 40}", f"s{n}", n) for n in range(2_000)), rnn=False)
    assert len(state[NETWORK].weights.services) == ROWS
    assert 150_000 < len(rows.encode(state[NETWORK])) < 165_000
    for user in ("u/u0", "u/u39"):
        assert len(rows.encode(state[user])) - len(rows.encode(alone[user])) < 80


def test_without_the_network_nothing_of_it_is_kept() -> None:
    alone = walked(some(200), rnn=False)
    assert NETWORK not in alone
    assert alone["u/u1"].trail["length"] == 0


def test_the_network_leaves_all_other_rows_as_they_are() -> None:
    alone, beside = walked(some(300), rnn=False), walked(some(300))
    del beside[NETWORK]
    for key in beside:
        if key.startswith("u/"):
            beside[key].trail = no_trail()
    assert bytes_of(alone) == bytes_of(beside)


def test_a_profile_of_a_release_without_the_network_is_read() -> None:
    profile = walked(some(60), rnn=False)["u/u1"]
    version, _, *data = before_phases(profile)
    former = bytes((version, 10, *data[:-1]))  # all but the empty trail
    assert rows.encode(rows.decode(former)) == rows.encode(profile)


def test_turned_on_later_it_begins_as_the_mixture_alone() -> None:
    state = walked(some(80), rnn=False)
    mixture = NextRequestMixture(MixtureConfig(rnn=True))
    vector = mixture.prediction(state, mixture.profile(state, "u1"))
    assert vector.chances == pytest.approx(vector.table[0])


def test_with_all_weights_as_at_first_both_together_are_the_mixture() -> None:
    state = walked(some(80))
    state[NETWORK] = NetworkState()
    mixture = NextRequestMixture(MixtureConfig(rnn=True))
    vector = mixture.prediction(state, mixture.profile(state, "u1"))
    assert vector.chances == pytest.approx(vector.table[0], abs=1e-9)


def test_it_beats_the_mixture_on_a_pattern_between_services_that_only_it_can_join() -> None:
    # What follows a pair depends on both parities: thirty services leave counts little to go by.
    rng, mixture = random.Random(7), NextRequestMixture(MixtureConfig(rnn=True))
    state: dict[str, Any] = {}
    gained = 0.0
    for n in range(12_000):
        user = f"u{rng.randrange(400)}"
        profile = mixture.profile(state, user)
        one, two, *_ = profile.tail
        parity = (one + two) % 2 if two else 0
        service = f"s{2 * rng.randrange(15) + parity:02}"
        if n > 6_000 and two:
            vector = mixture.prediction(state, profile)
            item = mixture.vocabulary(state).find(service)
            column = vector.column(item)
            gained += float(np.log(vector.chances[column] / vector.table[0, column]))
        mixture.learn(state, user, service, at_ms=1_000 * n, request_id=str(n))
    assert gained > 0


@given(st.lists(st.tuples(st.sampled_from("xy"), st.integers(0, 3), st.integers(0, 2**47))))
def test_probabilities_are_a_distribution_whatever_comes(
    events: list[tuple[str, int, int]],
) -> None:
    state, mixture = (
        walked([(u, f"s{s}", t) for u, s, t in events]),
        NextRequestMixture(MixtureConfig(rnn=True)),
    )
    for user in "xyz":
        chances = mixture.prediction(state, mixture.profile(state, user)).chances
        assert chances.sum() == pytest.approx(1.0)
        assert (chances > 0).all()


def test_users_who_all_turn_round_at_once_leave_numbers_finite() -> None:
    events = [(f"u{n % 3}", f"s{n // 500 * 7 % 11}", n) for n in range(5_000)]
    state = walked(events)
    network = state[NETWORK]
    for array in (*network.weights, network.joint):
        numbers = array.view(np.float32) if array.dtype.itemsize % 4 == 0 else array
        assert np.isfinite(numbers).all()


@given(st.integers(-1, 10**12), st.integers(-1, 10**12))
def test_longer_gaps_have_higher_buckets(one: int, other: int) -> None:
    shorter, longer = gap_of(min(one, other)), gap_of(max(one, other))
    assert 0 <= shorter <= longer < GAPS


def test_every_service_has_a_row_and_the_first_ones_have_their_own() -> None:
    first = [row_of(number) for number in range(OWN)]
    later = {row_of(number) for number in range(OWN, 60_000)}
    assert sorted(set(first)) == first
    assert later == set(range(ROWS - SHARED, ROWS))
    assert not later & set(first)


def test_the_setting_turns_it_on() -> None:
    on, off = (stages_of(replace(Settings(), rnn=rnn))["profiler"] for rnn in ("on", "off"))
    assert isinstance(on, ProfilerStage)
    assert isinstance(off, ProfilerStage)
    assert (on.mixture.config.rnn, off.mixture.config.rnn) == (True, False)
