"""The bytes of the aggregator's rows, and those of the former release."""

from __future__ import annotations

import json

import numpy as np
import pytest
from aggregated import (
    FIRST,
    State,
    at,
    expected,
    feed,
    later,
    prediction,
    sums,
    through_bytes,
)

from streams.models.arrival.silence import STAGES, stage_of
from streams.models.state_bytes import StateWriter
from streams.stages.aggregator.stage import Aggregator
from streams.stages.aggregator.state import (
    PoolRoster,
)

# --------------------------------------------------------------------- bytes


def test_a_users_row_is_small() -> None:
    state: State = {}
    feed([prediction("ann", 0, {f"service-{i}": 1 / (i + 2) for i in range(500)})], state)
    assert len(Aggregator().encode(state["u/ann"])) < 500 * 10


def test_bytes_of_an_unknown_version_are_refused() -> None:
    for bad in (b"", b"\x63[]", b"\x00"):
        with pytest.raises(ValueError, match=r"empty|has version 99|unknown form 0"):
            Aggregator().decode(bad)


def test_hazards_of_another_size_are_refused() -> None:
    state: State = {}
    feed([prediction("ann", 0, {"a": 0.5})], state)
    row = sums(state)
    row.hazard.cells = row.hazard.cells[1:]
    with pytest.raises(ValueError, match="cells"):
        Aggregator().decode(Aggregator().encode(row))


def former_vector() -> bytes:
    out = StateWriter()
    out.uint(1)
    out.text("p")
    out.uints((1, 1, 1, 0, 2**19, 1_030_000, 2**20))  # epoch, sizes, series, within, a step
    return bytes(out.data)


def former_sums(kind: bytes = b"\x02") -> bytes:
    out = StateWriter()
    out.data += kind
    for number in (0, 2**19, 2**38):  # series, p, p (1 - p)
        out.blob(number.to_bytes(8, "little"))
    return bytes(out.data)


def former_pool(form: int, *seen: list[list[int]]) -> bytes:
    out = StateWriter()
    out.uint(form)
    ends, measured = [[1_030_000, 2**19]], [["base", 2, 400, 100_000.0]]
    out.text(json.dumps([1, 60_000, 1_000_000, [["a", "gold", 0]], ends, measured, *seen]))
    return bytes(out.data) + former_sums(b"")


def former_roster() -> bytes:
    out = StateWriter()
    out.uint(4)
    out.text(json.dumps([1_000_000, ["p"], 1, -1]))
    return bytes(out.data)


def former_state(pool: bytes) -> State:
    """As a worker of the former release left it a second ago: ann is expected to ask for a."""
    rows = {
        "\x00pools": former_roster(),
        "\x00pool/p": pool,
        "\x00until/1030000/p": former_sums(),
        "u/ann": former_vector(),
    }
    return {key: Aggregator().decode(data) for key, data in rows.items()}


FORMER = [former_pool(3), former_pool(5, [[0, 7]])]


@pytest.mark.parametrize("pool", FORMER)
def test_vectors_of_the_former_release_count_no_more(pool: bytes) -> None:
    state = former_state(pool)
    (demand,) = feed([prediction("bob", 1_001_000, {"b": 0.5})], state)
    assert {name: e for (name, _), e in expected(demand).items() if e} == {
        "b": pytest.approx(0.5 * FIRST, rel=1e-5)
    }


@pytest.mark.parametrize("pool", FORMER)
def test_a_user_of_the_former_release_is_a_new_one(pool: bytes) -> None:
    state = former_state(pool)
    (demand,) = feed([prediction("ann", 1_001_000, {"a": 0.5})], state)
    assert expected(demand) == {("a", "gold"): pytest.approx(0.5 * FIRST, rel=1e-5)}


@pytest.mark.parametrize("pool", FORMER)
def test_buckets_of_the_former_release_are_dropped_when_they_end(pool: bytes) -> None:
    state = former_state(pool)
    later(1_030_000, state)
    assert not [key for key in state if key.startswith("\x00until/")]
    assert not sums(state).early.values.any()


def test_start_ups_counts_and_time_of_the_former_release_are_kept() -> None:
    (demand,) = later(1_000_000, former_state(FORMER[1]))
    assert demand.at_ms == 1_000_000
    assert [(s.service, s.expected, s.seen) for s in demand.services] == [("a", 0.0, 7)]
    assert [(m.service, m.count, m.total_ms) for m in demand.warm_ups] == [("base", 2, 400)]


def test_state_of_the_former_release_survives_bytes() -> None:
    state = former_state(FORMER[1])
    assert later(1_000_000, through_bytes(state)) == later(1_000_000, state)


def test_the_roster_survives_bytes() -> None:
    roster = PoolRoster(7, ("p", "q"), 3, 4, 5, 6)
    assert Aggregator().decode(Aggregator().encode(roster)) == roster


def test_a_silence_is_in_the_stage_of_its_age() -> None:
    state: State = {}
    feed([prediction("ann", 0, {"a": 0.5})], state)
    for age_ms in (15_000, 30_000, 45_000):
        at(age_ms, state)
        cells = sums(state).hazard.cells["inside"][-STAGES:]
        assert np.flatnonzero(cells).tolist() == [stage_of(age_ms)]
