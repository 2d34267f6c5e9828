from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from streams.demo.population import LEAD_S, NEWCOMERS, SyntheticPopulation
from streams.demo.studio import TIER, catalogue

POPULATION = SyntheticPopulation(users=200, styles=50, past_s=600, live_s=60, seed=7)


def test_the_studio_has_two_services_a_style_and_all_that_they_are_made_of() -> None:
    studio = catalogue(50, "one", "two")

    assert len(studio.composites) == 2 * 50 + 4
    assert {part for c in studio.composites.values() for part in c.constituents} == set(
        studio.constituents
    )
    assert set(studio.pools) == {"one", "two"}
    assert set(studio.tiers) == {TIER.tier}


def test_users_ask_for_what_the_studio_has() -> None:
    asked = {ask.service for ask in [*POPULATION.past(), *POPULATION.live()]}

    assert asked <= set(catalogue(50).composites)


def test_a_seed_decides_everything() -> None:
    again = replace(POPULATION)

    assert again.live() == POPULATION.live()
    assert again.past() == POPULATION.past()
    assert replace(POPULATION, seed=8).live() != POPULATION.live()


def test_requests_come_in_order_the_past_before_the_lead() -> None:
    times = [ask.at_s for ask in [*POPULATION.past(), *POPULATION.live()]]

    assert times == sorted(times)
    assert all(ask.at_s < -LEAD_S for ask in POPULATION.past())
    assert all(-LEAD_S <= ask.at_s < 60 for ask in POPULATION.live())


def test_requests_come_as_often_in_the_live_part_as_in_the_past() -> None:
    often = len(POPULATION.past()) / (600 - LEAD_S)

    assert len(POPULATION.live()) / (60 + LEAD_S) == pytest.approx(often, rel=0.2)


def test_users_have_habits_that_can_be_learnt() -> None:
    follows: dict[tuple[str, str], Counter[str]] = {}
    by_user: dict[str, list[str]] = {}
    for ask in POPULATION.past():
        by_user.setdefault(ask.user, []).append(ask.service)
    for user, services in by_user.items():
        for one, other in pairwise(services):
            follows.setdefault((user, one), Counter())[other] += 1
    often = sum(counts.most_common(1)[0][1] for counts in follows.values())

    assert often / sum(counts.total() for counts in follows.values()) > 0.6


def test_some_users_drift_half_way() -> None:
    drifters = [user for user in POPULATION.people if user.later is not user.habit]

    assert 20 < len(drifters) < 60


def test_newcomers_were_never_seen_before() -> None:
    seen = {ask.user for ask in POPULATION.past()}
    new = {user.name for user in POPULATION.people if user.new}

    assert len(new) == pytest.approx(NEWCOMERS * 200, rel=0.5)
    assert not seen & new
    assert {ask.user for ask in POPULATION.live() if ask.new} <= new


def test_few_styles_are_popular() -> None:
    models = Counter(ask.service.rpartition(" ")[2] for ask in POPULATION.past())
    counts = sorted(models.values(), reverse=True)

    assert sum(counts[:10]) > 0.5 * sum(counts)
    assert len(counts) > 40
