from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from former import before_phases
from hypothesis import given
from hypothesis import strategies as st

from streams.models.drift import no_drift
from streams.models.next_request.lookahead import expected_within
from streams.models.next_request.mixture import MixtureConfig
from streams.models.recent_requests import RecentRequests
from streams.models.state_bytes import StateWriter
from streams.records import Prediction, Request, Utilisation, Watermark
from streams.records.catalog import Catalog, Composite, Resources
from streams.stages.base import RecordUnusable, StepContext
from streams.stages.profiler import ProfilerStage

HOUR = 3_600_000


def request(n: int, service: str, user: str = "ann", at_ms: int | None = None) -> Request:
    at = n * 1_000 if at_ms is None else at_ms
    return Request(request_id=f"r{n}", user=user, service=service, at_ms=at)


def play(profiler: ProfilerStage, asked: list[Request], state: dict[str, Any]) -> list[Prediction]:
    out: list[Prediction] = []
    for each in asked:
        (made,) = profiler.step(each, state, StepContext())
        assert isinstance(made, Prediction)
        out.append(made)
    return out


def log_loss(asked: list[Request], made: list[Prediction]) -> float:
    losses = []
    for prediction, came in zip(made, asked[1:], strict=False):
        listed = {s.service: s.probability for s in prediction.services}
        losses.append(-math.log(listed.get(came.service, prediction.unseen)))
    return sum(losses) / len(losses)


def bytes_of(profiler: ProfilerStage, state: dict[str, Any]) -> dict[str, bytes]:
    return {key: profiler.encode(value) for key, value in state.items()}


def total(prediction: Prediction) -> float:
    return prediction.unseen + sum(s.probability for s in prediction.services)


def test_a_watermark_teaches_nothing() -> None:
    state: dict[str, Any] = {}
    mark = Watermark(log="4f0c", source="log.csv", at_ms=1_000, number=1)
    assert list(ProfilerStage().step(mark, state, StepContext())) == []
    assert state == {}


def test_the_first_request_ever_is_answered_with_a_vector() -> None:
    (made,) = play(ProfilerStage(), [request(0, "order")], {})
    assert total(made) == pytest.approx(1.0)
    assert made.request_id == "r0"
    assert made.unseen > 0
    assert made.expires_ms > made.made_ms


def test_a_user_never_seen_gets_what_the_others_ask_for() -> None:
    profiler, state = ProfilerStage(), dict[str, Any]()
    play(profiler, [request(n, "pay", user=f"u{n % 9}") for n in range(90)], state)
    vector = profiler.mixture.predict(state, "nobody")
    assert max(vector, key=lambda s: vector[s]) == "pay"


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("xyz")), max_size=40))
def test_a_vector_is_normalised_and_sorted(events: list[tuple[str, str]]) -> None:
    asked = [request(n, service, user) for n, (service, user) in enumerate(events)]
    for made in play(ProfilerStage(), asked, {}):
        assert total(made) == pytest.approx(1.0, abs=1e-9)
        probabilities = [s.probability for s in made.services]
        assert probabilities == sorted(probabilities, reverse=True)
        assert all(0 <= s.within <= 1 for s in made.services)


def test_a_cycle_is_learnt() -> None:
    asked = [request(n, "abc"[n % 3]) for n in range(60)]
    made = play(ProfilerStage(), asked, {})[-1]
    assert made.services[0].service == "a"
    assert made.services[0].probability > 0.8


def test_soon_does_not_depend_on_the_horizon_and_is_within_where_that_is_a_minute() -> None:
    asked = [request(n, f"{n % 3}", at_ms=20_000 * n + n * n) for n in range(60)]
    minute = play(ProfilerStage(horizon_ms=60_000), asked, {})[-1]
    short = play(ProfilerStage(horizon_ms=1_000), asked, {})[-1]
    assert [s.soon for s in short.services] == [s.soon for s in minute.services]
    assert [s.soon for s in minute.services] == [s.within for s in minute.services]
    assert short.soon == minute.soon > 0
    assert [s.within for s in short.services] != [s.soon for s in short.services]


def test_within_grows_with_the_horizon() -> None:
    asked = [request(n, "a", at_ms=n * n * 1_000) for n in range(30)]
    short = play(ProfilerStage(horizon_ms=10_000), asked, {})[-1]
    long = play(ProfilerStage(horizon_ms=50_000), asked, {})[-1]
    assert short.services[0].within < long.services[0].within


def test_the_expected_time_is_that_of_the_users_gaps() -> None:
    asked = [request(n, "a", at_ms=n * HOUR) for n in range(30)]
    low, middle, high = play(ProfilerStage(), asked, {})[-1].expected_ms
    assert low <= middle <= high
    assert middle == pytest.approx(HOUR, rel=0.2)


def changing(users: int = 8) -> list[Request]:
    """Users who each go round twelve services in an order of their own, and later in another."""
    rng, names, asked = random.Random(7), "abcdefghijkl", list[Request]()
    rounds = [[rng.sample(names, 12) for _ in range(2)] for _ in range(users)]
    for n in range(300 * users):
        done, user = divmod(n, users)
        usual = rounds[user][done >= 150][done % 12]
        service = usual if rng.random() < 0.9 else rng.choice(names)
        asked.append(request(n, service, f"u{user}"))
    return asked


def test_users_who_change_are_predicted_better_once_their_drift_is_seen() -> None:
    asked, users, losses = changing(), 8, []
    for least in (16, 512):  # who keeps 512 requests at a drift forgets nothing
        made = play(ProfilerStage(config=MixtureConfig(least=least)), asked, {})
        own = [log_loss(asked[user::users][150:], made[user::users][150:]) for user in range(users)]
        losses.append(sum(own) / users)
    seen, unseen = losses
    assert seen < unseen - 0.005


def test_state_survives_its_bytes_and_goes_on_the_same() -> None:
    rng = random.Random(3)
    asked = [request(n, rng.choice("abcdef"), user=rng.choice("xyz")) for n in range(400)]
    profiler = ProfilerStage(config=MixtureConfig(keep=32))
    straight: dict[str, Any] = {}
    expected = play(profiler, asked, straight)
    halfway: dict[str, Any] = {}
    play(profiler, asked[:250], halfway)
    recovered = {k: profiler.decode(b) for k, b in bytes_of(profiler, halfway).items()}
    assert play(profiler, asked[250:], recovered) == expected[250:]
    assert bytes_of(profiler, recovered) == bytes_of(profiler, straight)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x09\x01", b"\x01\x63", b"\x01\x01\xff\xff\xff"])
def test_bytes_that_are_no_state_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="state"):
        ProfilerStage().decode(data)


def test_a_profile_with_gradients_that_waited_for_feedback_is_read_without_them() -> None:
    profiler, state = ProfilerStage(), dict[str, Any]()
    play(profiler, [request(n, "ab"[n % 2]) for n in range(9)], state)
    profile = state["u/ann"]
    profile.drift, profile.recent = no_drift(), RecentRequests(profile.last_ms)
    version, _, *learnt = before_phases(profile)
    since = StateWriter()  # what profiles have had at their end since then
    since.array(profile.drift)
    profile.recent.write(since)
    since.blob(b"")  # no recurrent network followed its user
    one_waited = b"\x01" + b"\x07" + b"\x02ab"  # checksum and gradient
    former = bytes((version, 1, *learnt))[: -len(since.data)] + one_waited
    assert profiler.encode(profiler.decode(former)) == profiler.encode(profile)


def test_every_truncation_of_a_row_is_refused() -> None:
    profiler, state = ProfilerStage(), dict[str, Any]()
    play(profiler, [request(n, "ab"[n % 2]) for n in range(9)], state)
    for data in bytes_of(profiler, state).values():
        for end in range(len(data)):
            with pytest.raises(ValueError, match=r".+"):
                profiler.decode(data[:end])


def test_only_rows_that_changed_are_assigned() -> None:
    class Watched(dict[str, Any]):
        def __setitem__(self, key: str, value: Any) -> None:
            assigned.add(key)
            super().__setitem__(key, value)

    assigned: set[str] = set()
    profiler, state = ProfilerStage(), Watched()
    play(profiler, [request(n, "abcd"[n % 4], user=f"u{n % 7}") for n in range(200)], state)
    before = bytes_of(profiler, state)
    assigned.clear()
    play(profiler, [request(200, "a", user="u1")], state)
    changed = {k for k, b in bytes_of(profiler, state).items() if before.get(k) != b}
    assert changed <= assigned
    assert len(assigned) < 20


def in_order() -> str:
    """The rows of ninety requests, as text."""
    profiler, state = ProfilerStage(), dict[str, Any]()
    play(profiler, [request(n, "abcde"[n * n % 5], f"u{n % 3}") for n in range(90)], state)
    return str(sorted((key, data.hex()) for key, data in bytes_of(profiler, state).items()))


def test_the_bytes_do_not_depend_on_the_hash_seed() -> None:
    other_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"  # ours is any, if not set
    elsewhere = subprocess.run(
        [sys.executable, "-c", "import test_profiler; print(test_profiler.in_order(), end='')"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": other_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parent,
    ).stdout
    assert elsewhere == in_order()


def test_time_that_goes_backwards_is_a_gap_of_nothing() -> None:
    asked = [request(0, "a", at_ms=HOUR), request(1, "b", at_ms=0), request(2, "a", at_ms=HOUR)]
    assert play(ProfilerStage(), asked, {})[-1].expected_ms[0] >= 0


def test_with_many_services_the_rest_is_counted_as_unseen() -> None:
    asked = [request(n, f"s{n % 500}", user=f"u{n % 20}") for n in range(2_000)]
    made = play(ProfilerStage(config=MixtureConfig(most=64)), asked, {})[-1]
    assert 0 < len(made.services) <= 64
    assert total(made) == pytest.approx(1.0)


def test_a_record_of_another_kind_is_unusable() -> None:
    other = Utilisation(pool="p", at_ms=0, capacity=Resources(), used=Resources())
    with pytest.raises(RecordUnusable, match="Utilisation"):
        ProfilerStage().step(other, {}, StepContext())


def test_a_service_outside_the_catalogue_is_unusable_and_leaves_no_trace() -> None:
    state: dict[str, Any] = {}
    known = StepContext(catalog=Catalog.of([Composite(service="pay", steps=())]))
    with pytest.raises(RecordUnusable, match="catalogue"):
        ProfilerStage().step(request(0, "order"), state, known)
    assert state == {}


def shoppers(sessions: int) -> list[Request]:
    """Three users in turn, each of whom orders, pays and reads the receipt, 4 s apart."""
    chain = ("order", "pay", "receipt")
    return [
        request(
            3 * session + step,
            service,
            user=f"u{session % 3}",
            at_ms=session * HOUR + step * 4_000,
        )
        for session in range(sessions)
        for step, service in enumerate(chain)
    ]


def test_a_later_step_of_a_chain_is_expected_within_the_horizon() -> None:
    *_, ordered, _, _ = play(ProfilerStage(horizon_ms=60_000), shoppers(30), {})
    found = {s.service: s for s in ordered.services}

    assert found["receipt"].probability < 0.2
    assert found["receipt"].within > 0.5 > found["order"].within


def test_no_later_step_is_expected_when_the_horizon_ends_before() -> None:
    profiler, state = ProfilerStage(), dict[str, Any]()
    play(profiler, shoppers(30)[:-2], state)
    mixture = profiler.mixture
    ordered = mixture.profile(state, "u2")
    prediction = mixture.prediction(state, ordered)
    short, minute = (
        expected_within(mixture, state, ordered, prediction, ms) for ms in (3_000, 60_000)
    )
    assert short.within == short.alone
    assert minute.within != minute.alone
