"""Scores of what is expected within a horizon."""

from __future__ import annotations

from typing import Any

import pytest

from streams.lab.evaluate.ahead import HorizonScores
from streams.models.next_request.mixture import NextRequestMixture


def looked_ahead(gap_ms: int, sessions: int = 400) -> dict[str, dict[str, float]]:
    """Scores over sessions of order, pay, receipt, that are an hour apart."""
    mixture, state, ahead = NextRequestMixture(), dict[str, Any](), HorizonScores()
    for session in range(sessions):
        for step, service in enumerate(["order", "pay", "receipt"]):
            at_ms, request_id = session * 3_600_000 + step * gap_ms, f"{session}-{step}"
            user = f"u{session % 5}"
            mixture.learn(state, user, service, at_ms=at_ms, request_id=request_id)
            ahead.heard(mixture, state, user, at_ms)
    return ahead.summary()


def test_a_chain_within_the_horizon_is_expected_better_than_by_its_next_request_alone() -> None:
    found = looked_ahead(gap_ms=10_000)

    assert found["chains"]["brier_60s"] < 0.7 * found["next"]["brier_60s"]


def test_a_chain_that_is_slower_than_the_horizon_changes_nothing() -> None:
    found = looked_ahead(gap_ms=900_000)

    assert found["chains"] == pytest.approx(found["next"], abs=0.02)


def test_without_a_clock_nothing_is_scored_and_nothing_piles_up() -> None:
    mixture, state, ahead = NextRequestMixture(), dict[str, Any](), HorizonScores()
    mixture.learn(state, "u", "a", at_ms=0, request_id="r")
    for _ in range(20_000):
        ahead.heard(mixture, state, "u", 0)

    assert ahead.summary() == {}
    assert sum(map(len, ahead._open)) == 2 * 4_096
