from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from river.drift.binary import HDDMA

from streams.models.drift import no_drift, update

STRETCHES = st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(1, 150)), max_size=4)


@given(stretches=STRETCHES, seed=st.integers(0, 2**32))
def test_drift_is_where_rivers_detector_finds_it(
    stretches: list[tuple[float, int]], seed: int
) -> None:
    numbers, rivers, ours = Random(seed), HDDMA(), no_drift()
    for rate, length in stretches:
        for _ in range(length):
            worse = numbers.random() < rate
            rivers.update(worse)
            assert (update(ours, float(worse)) > 0) == rivers.drift_detected


def test_a_drift_says_for_how_many_values_they_have_been_larger() -> None:
    detector = no_drift()
    found = [update(detector, value) for value in [0.1] * 100 + [0.9] * 60]
    (drift,) = [at for at, since in enumerate(found) if since]
    assert found[drift] == drift + 1 - 100


def test_values_that_become_smaller_are_no_drift() -> None:
    detector = no_drift()
    assert not any(update(detector, value) for value in [0.9] * 100 + [0.1] * 100)
