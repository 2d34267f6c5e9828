"""What users ask for next depends on the phase of the silence in which they do."""

from __future__ import annotations

import base64
import json
import random
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.models.arrival.phases import ANOTHER_DAY, LATER, PHASES, SESSION, phase_of
from streams.models.arrival.silence import EDGES_MS
from streams.models.next_request import state_codec as rows
from streams.models.next_request.joined import joint_of
from streams.models.next_request.lookahead import expected_within
from streams.models.next_request.mixture import MixtureConfig, NextRequestMixture
from streams.models.next_request.network_expert import NetworkState
from streams.models.next_request.state_keys import NETWORK

GOLDEN = Path(__file__).parent / "golden" / "profiler-state"
MINUTE, HOUR = 60_000, 3_600_000
GAPS = st.lists(st.sampled_from((5_000, 40_000, 10 * MINUTE, 3 * HOUR, 30 * HOUR)), max_size=40)


def learnt(
    gaps: list[int], services: str, *, rnn: bool = False
) -> tuple[NextRequestMixture, dict[str, Any]]:
    """After a user has waited for each gap and then asked for the service."""
    mixture, state, at_ms = NextRequestMixture(MixtureConfig(rnn=rnn)), dict[str, Any](), 10**12
    for done, (gap_ms, service) in enumerate(zip(gaps, services, strict=False)):
        at_ms += gap_ms
        mixture.learn(state, "ann", service, at_ms=at_ms, request_id=str(done))
    return mixture, state


@pytest.mark.parametrize(
    ("age_ms", "phase"),
    [(0, SESSION), (59_999, SESSION), (60_000, LATER), (8 * HOUR - 1, LATER), (8 * HOUR, 2)],
)
def test_a_silence_is_in_the_session_then_later_then_on_another_day(
    age_ms: int, phase: int
) -> None:
    assert phase_of(age_ms) == phase


def test_a_user_who_never_asked_is_as_if_it_were_another_day() -> None:
    assert phase_of(-1) == ANOTHER_DAY


def test_a_phase_begins_with_a_stage_of_the_hazard() -> None:
    """So users of one bucket are in one phase."""
    changes = [end for begin, end in pairwise(EDGES_MS) if phase_of(begin) != phase_of(end)]
    assert all(phase_of(edge - 1) != phase_of(edge) for edge in changes)
    assert len(changes) == PHASES - 1


def test_what_comes_after_a_night_is_learnt_apart_from_what_comes_within_the_session() -> None:
    """Reports after a night, work half a minute after anything, in an order that nobody knows."""
    nights = random.Random(7).choices((False, True), k=200)
    mixture, state = learnt(
        [30 * HOUR if night else 30_000 for night in nights],
        "".join("r" if night else "w" for night in nights),
    )
    prediction = mixture.prediction(state, mixture.profile(state, "ann"))
    names = mixture.names(state, prediction)
    report, work = names.index("r"), names.index("w")
    session, _, another_day = prediction.given[:, [report, work]]
    assert another_day[0] > 0.9 > session[0]
    assert session[1] > another_day[1]


@pytest.mark.parametrize("rnn", [False, True])
@given(gaps=GAPS, services=st.text("abc", min_size=40, max_size=40))
def test_a_vector_is_that_of_each_phase_by_the_probability_that_it_is_the_one(
    rnn: bool, gaps: list[int], services: str
) -> None:
    mixture, state = learnt(gaps, services, rnn=rnn)
    prediction = mixture.prediction(state, mixture.profile(state, "ann"))
    assert prediction.given.sum(axis=1) == pytest.approx(np.ones(PHASES))
    assert prediction.chances.sum() == pytest.approx(1.0)
    assert prediction.chances == pytest.approx(np.diff(prediction.ended) @ prediction.given)


@pytest.mark.parametrize("rnn", [False, True])
@given(gaps=GAPS, services=st.text("abc", min_size=40, max_size=40))
def test_a_prediction_given_when_is_that_of_the_phase(
    rnn: bool, gaps: list[int], services: str
) -> None:
    mixture, state = learnt(gaps, services, rnn=rnn)
    profile = mixture.profile(state, "ann")
    over_all = mixture.prediction(state, profile)
    for phase, gap_ms in enumerate((5_000, HOUR, 30 * HOUR)):
        alone = mixture.prediction_given(state, profile, gap_ms)
        assert alone.chances == pytest.approx(over_all.given[phase])


def test_what_comes_within_a_minute_is_what_is_asked_for_in_the_session() -> None:
    mixture, state = learnt([30 * HOUR, 30_000, 30_000] * 60, "rww" * 60)
    profile = mixture.profile(state, "ann")
    prediction = mixture.prediction(state, profile)
    ahead = expected_within(mixture, state, profile, prediction, MINUTE)
    listed = len(prediction.candidates)
    assert ahead.alone == pytest.approx(prediction.given[SESSION, :listed] * ahead.soon)


# ------------------------------------------------------------------- state of earlier releases


def former_state(version: int) -> dict[str, Any]:
    """Of two users who ask for order, pay and receipt in turn; as version 4, with exceptions."""
    packed = (GOLDEN / f"v{version}.b64").read_text()
    data = json.loads(zlib.decompress(base64.b64decode(packed)))
    return {key: rows.decode(bytes.fromhex(row)) for key, row in data.items()}


@pytest.mark.parametrize(
    ("version", "user", "gap_ms", "receipt"),
    [
        (3, "ann", 20_000, 0.99474),
        (3, "bob", 20_000, 0.97843),
        (4, "ann", 20_000, 0.09493),
        (4, "bob", 20_000, 0.40568),
        (4, "bob", HOUR, 0.38094),
    ],
)
def test_the_state_of_an_earlier_release_predicts_nearly_what_it_did(
    version: int, user: str, gap_ms: int, receipt: float
) -> None:
    """The figures are those releases' own, which had one more expert: it is in another's weight."""
    mixture, state = NextRequestMixture(), former_state(version)
    prediction = mixture.prediction_given(state, mixture.profile(state, user), gap_ms)
    names = mixture.names(state, prediction)
    assert prediction.chances[names.index("receipt")] == pytest.approx(receipt, abs=0.005)


@pytest.mark.parametrize("version", [3, 4])
def test_the_state_of_an_earlier_release_goes_on_as_any_other(version: int) -> None:
    mixture, state = NextRequestMixture(), former_state(version)
    for done in range(30):
        at_ms = 1_700_002_000_000 + done * 1_000
        assert mixture.learn(state, "ann", "pay", at_ms=at_ms, request_id=f"new-{done}")
    again = {key: rows.encode(row) for key, row in state.items()}
    assert {key: rows.encode(rows.decode(row)) for key, row in again.items()} == again
    assert max(mixture.predict(state, "ann").items(), key=lambda each: each[1])[0] == "pay"


def test_the_network_of_a_release_without_phases_keeps_its_weights() -> None:
    _, state = learnt([30_000] * 60, "abc" * 20, rnn=True)
    network: NetworkState = state[NETWORK]
    joint, before = network.joint, rows.encode(network)
    sets = joint["sets"].shape[1] - PHASES
    network.joint = np.zeros(1, joint_of(sets))
    for name in ("everywhere", "shifts"):
        network.joint[name] = joint[name]
    network.joint["sets"] = joint["sets"][:, :sets]
    former = bytes((3, *rows.encode(network)[1:]))
    joint["sets"][:, sets:] = 0.0
    network.joint = joint
    assert rows.encode(rows.decode(former)) == rows.encode(network) != before
