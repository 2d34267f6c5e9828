"""The sum of users' hazards over time."""

from __future__ import annotations

import numpy as np
import pytest

from streams.lab.compare.intensity import ConstituentIntensity
from streams.lab.models.silence import EDGES_MS

FIRST, BOTH = np.array([0]), np.array([0, 1])


def test_users_add_up_and_a_request_replaces_what_was_expected_of_its_user() -> None:
    intensity = ConstituentIntensity(2, ahead_ms=0)
    intensity.heard("ann", 0, 0.5, FIRST, np.array([3.0]))
    alone = intensity.worth[0]
    intensity.heard("bob", 0, 0.5, BOTH, np.array([3.0, 6.0]))
    assert intensity.worth[0] > 1.5 * alone > 0
    intensity.heard("ann", 0, 0.5, FIRST, np.array([0.0]))
    assert intensity.worth[0] == pytest.approx(intensity.worth[1] / 2)


def test_silence_lowers_the_rate_and_each_change_of_it_is_told() -> None:
    intensity = ConstituentIntensity(1, ahead_ms=0)
    intensity.heard("ann", 0, 0.5, FIRST, np.array([1.0]))
    rates = [intensity.worth[0].item() for _ in intensity.until(3_600_000, 1)]
    assert len(rates) == sum(0 < edge <= 3_600_000 for edge in EDGES_MS)
    assert rates == sorted(rates, reverse=True)


def test_a_coarse_grain_takes_changes_together() -> None:
    intensity = ConstituentIntensity(1, ahead_ms=0)
    intensity.heard("ann", 0, 0.5, FIRST, np.array([1.0]))
    assert list(intensity.until(100_000, 60_000)) == [60_000, 100_000]


def test_looking_ahead_never_expects_less() -> None:
    now, ahead = ConstituentIntensity(1, 0), ConstituentIntensity(1, 60_000)
    for user in "abcdef":
        for intensity in (now, ahead):
            list(intensity.until(50_000 * ord(user), 1_000))
            intensity.heard(user, 50_000 * ord(user), 0.5, FIRST, np.array([1.0]))
        assert ahead.worth[0] >= now.worth[0]


def test_users_who_come_back_in_a_wave_raise_what_is_expected_of_the_others() -> None:
    """Two hundred users rest for ten hours; then twenty return within minutes."""
    intensity = ConstituentIntensity(1, ahead_ms=0)
    for i in range(200):
        intensity.heard(f"u{i}", 0, 0.5, FIRST, np.array([1.0]))
    list(intensity.until(36_000_000, 60_000))
    before = intensity.worth[0]
    for i in range(20):
        intensity.heard(f"u{i}", 36_000_000 + i * 6_000, 0.5, FIRST, np.array([0.0]))
    assert intensity.worth[0] > 1.3 * before


def test_a_user_unlike_the_others_of_a_context_has_a_rate_of_its_own() -> None:
    """Both have last asked a minute before; ann will again, bob is gone for two hours."""
    intensity, second = ConstituentIntensity(2, ahead_ms=0), np.array([1])
    for bob_ms in range(0, 72_000_000, 7_200_000):
        for ann_ms in range(bob_ms, bob_ms + 7_200_000, 60_000):
            list(intensity.until(ann_ms, 1_000))
            intensity.heard("ann", ann_ms, 0.2, FIRST, np.array([1.0]))
            if ann_ms < bob_ms + 120_000:
                intensity.heard("bob", ann_ms, 0.2, second, np.array([1.0]))
    now_ms = 72_000_000 + 60_000
    for user, at in (("ann", FIRST), ("bob", second)):
        for at_ms in (72_000_000, now_ms):
            intensity.heard(user, at_ms, 0.2, at, np.array([1.0]))
    assert intensity.worth[0] > 2 * intensity.worth[1] > 0
