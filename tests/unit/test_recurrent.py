from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.lab.models import state_codec as rows
from streams.lab.models.ensemble import ModelEnsemble
from streams.lab.models.ensemble_classifier import EnsembleClassifier
from streams.lab.models.gru import OptimiserState, SegmentBatch, chances, train
from streams.lab.models.network import (
    CORE,
    GAPS,
    OWN,
    RING,
    ROWS,
    SEGMENT,
    SHARED,
    STEPS,
    UNSEEN,
    WIDTH,
    NetworkState,
    gap_of,
    row_of,
)
from streams.lab.models.recurrent import RecurrentConfig, RecurrentModel
from streams.models.next_request.candidates import CANDIDATE
from streams.models.next_request.mixture import NextRequestMixture


def walked(
    events: Iterable[tuple[str, int]], config: RecurrentConfig | None = None
) -> dict[str, Any]:
    model, state, seen = RecurrentModel(config), dict[str, Any](), set[int]()
    for user, item in events:
        model.learn(state, user, item, new=item not in seen, gap_ms=1_000)
        seen.add(item)
    return state


def some(count: int, users: int = 5, services: int = 9) -> list[tuple[str, int]]:
    rng = random.Random(3)
    return [(f"u{rng.randrange(users)}", rng.randrange(services)) for _ in range(count)]


def learnt_tail(model: EnsembleClassifier, rounds: int) -> float:
    """Mean probability given to the last of "order, b, c, d, order" or the like, in the end."""
    rng, given_to = random.Random(5), []
    for n in range(rounds):
        first = rng.choice(["red", "blue"])
        for step, service in enumerate((first, "b", "c", "d", first)):
            if step == 4 and n >= rounds - 50:
                given_to.append(model.predict_proba_one({"user": "ann"})[service])
            model.learn_one({"user": "ann", "at_ms": 1_000 * n}, service)
    return sum(given_to) / len(given_to)


def test_it_learns_what_depends_on_the_service_four_steps_ago() -> None:
    assert learnt_tail(EnsembleClassifier("rnn"), 500) > 0.9


def test_no_model_of_order_one_learns_that() -> None:
    assert learnt_tail(EnsembleClassifier("user-1"), 300) < 0.6
    assert learnt_tail(EnsembleClassifier("global-1"), 300) < 0.6


def test_the_gradient_is_that_of_the_loss() -> None:
    rng, known = np.random.default_rng(1), 7
    theta = np.concatenate([rng.normal(0, 0.3, CORE), rng.normal(0, 0.5, known * WIDTH)])
    starts = rng.normal(0, 0.5, (3, WIDTH)).astype(np.float32)
    lived = rng.integers(0, known, (3, 3 * STEPS)).astype(np.uint16)
    batch = SegmentBatch(starts, lived.view(SEGMENT)[:, 0].copy(), np.array([STEPS, 3, 1]))

    def loss_at(moved: Any, first: Any, rate: float = 0.0) -> float:
        again = moved.astype(np.float32)
        state = OptimiserState(again, first, np.zeros_like(first))
        return float(train(state, batch, known, rate, 1.0))

    first = np.zeros(len(theta), np.float32)
    loss_at(theta, first)
    direction = rng.normal(0, 1, len(theta))
    ahead, behind = (
        loss_at(theta + sign * 1e-3 * direction, np.zeros_like(first)) for sign in (1, -1)
    )

    assert 10 * first @ direction == pytest.approx((ahead - behind) / 2e-3, rel=0.02)


def test_what_is_read_back_learns_on_as_what_was_written() -> None:
    state = walked(some(700))
    again = {key: rows.decode(rows.encode(row)) for key, row in state.items()}
    model = RecurrentModel()
    for each in (state, again):
        for user, item in some(200):
            model.learn(each, user, item, new=False, gap_ms=60_000)

    assert {k: rows.encode(r) for k, r in state.items()} == {
        k: rows.encode(r) for k, r in again.items()
    }
    assert state["\x00rnn"].steps > 100


def test_a_seed_decides_everything() -> None:
    one, same, other = (
        rows.encode(walked(some(300), RecurrentConfig(seed=seed))["\x00rnn"]) for seed in (7, 7, 8)
    )

    assert one == same != other


def test_damaged_bytes_are_refused() -> None:
    data = rows.encode(walked(some(40))["\x00rnn"])

    with pytest.raises(ValueError, match="truncated"):
        rows.decode(data[:-7])


def test_bytes_are_bounded_however_many_services_and_requests_there_are() -> None:
    quick = RecurrentConfig(every=10**9, early=1)  # learns hardly ever
    events = [(f"u{n % 40}", n) for n in range(20_000)]
    state = walked(events, quick)

    assert len(rows.encode(state["\x00rnn"])) < 1_000_000
    assert max(len(rows.encode(row)) for key, row in state.items() if key[0] == "h") < 80


def test_a_user_whose_segment_left_the_ring_goes_on_with_a_new_one() -> None:
    quick = RecurrentConfig(every=10**9, early=1)
    events = [("ann", 1), *((f"u{n}", 2) for n in range(RING + 5)), ("ann", 3), ("ann", 4)]
    state = walked(events, quick)
    network, memory = state["\x00rnn"], state["h/ann"]
    at = memory.segment % RING

    assert memory.segment == network.opened == RING + 7
    assert network.sizes[at] == 1
    assert network.segments["inputs"][at, 0] == row_of(3)
    assert network.segments["targets"][at, 0] == UNSEEN  # nobody asked for 4 before


@given(st.integers(0, 3_000), st.integers(0, 130))
def test_probabilities_sum_to_one_however_many_services_are_known(known: int, most: int) -> None:
    network = NetworkState()
    network.make_room(min(known + 1, ROWS))
    listed = np.zeros(min(known, most), CANDIDATE)
    listed["service"] = np.linspace(0, max(known - 1, 0), len(listed)).astype(np.uint16)
    found = np.empty(len(listed) + 2)
    hidden = np.linspace(-1, 1, WIDTH).astype(np.float32)
    chances(network.theta, hidden, network.rows, listed, known, found)

    assert found.sum() == pytest.approx(1.0, abs=1e-4)
    assert found.min() > 0


@given(st.integers(-1, 10**12), st.integers(-1, 10**12))
def test_longer_gaps_have_higher_buckets(one: int, other: int) -> None:
    shorter, longer = gap_of(min(one, other)), gap_of(max(one, other))

    assert 0 <= shorter <= longer < GAPS


def test_every_service_has_a_row_and_the_first_ones_have_their_own() -> None:
    first = [row_of(number) for number in range(OWN)]
    later = {row_of(number) for number in range(OWN, 60_000)}

    assert sorted(set(first)) == first == list(range(1, OWN + 1))
    assert later == set(range(OWN + 1, OWN + SHARED + 1))


def test_together_they_begin_as_the_mixture_alone() -> None:
    mixture, state = NextRequestMixture(), dict[str, Any]()
    pool = ModelEnsemble(mixture)
    for n, (user, item) in enumerate(some(80)):
        mixture.learn(state, user, f"s{item}", at_ms=n, request_id=str(n))
    view = mixture.prediction(state, mixture.profile(state, "u1"))

    opinion = pool.predict(state, "u1", view)
    assert opinion.table[0] == pytest.approx(view.table[0], abs=1e-9)
