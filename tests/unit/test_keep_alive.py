from __future__ import annotations

import pytest

from streams.demo.keep_alive import LINGERS_S, LONGEST_S, TimerCost, cost, keep_alive_s, least_total
from streams.demo.population import SyntheticRequest
from streams.demo.studio import SERVES_MS, TIER, catalogue

STUDIO = catalogue(3)
MODEL = STUDIO.constituents["upscale model"]
START_S, SERVES_S = MODEL.warm_up_ms / 1000, SERVES_MS / 1000


def asks(*times_s: float, service: str = "upscale") -> list[SyntheticRequest]:
    return [SyntheticRequest(at_s=at_s, user="ann", service=service) for at_s in times_s]


def warm_s(idle_s: float, requests: list[SyntheticRequest]) -> float:
    return cost(idle_s, requests, STUDIO).spent * 3600 / MODEL.price


def test_an_instance_is_paid_from_its_start_to_the_end_of_its_keep_alive() -> None:
    found = warm_s(5.0, [*asks(10.0), *asks(90.0, service="animate")])

    assert found == pytest.approx(SERVES_S + 5.0 + LINGERS_S)


def test_a_request_within_the_keep_alive_prolongs_it() -> None:
    found = warm_s(5.0, [*asks(10.0, 15.0), *asks(90.0, service="animate")])

    assert found == pytest.approx(15.0 - (10.0 + START_S) + SERVES_S + 5.0 + LINGERS_S)


def test_requests_at_once_need_an_instance_each() -> None:
    end = asks(90.0, service="animate")

    assert warm_s(5.0, [*asks(10.0, 10.1), *end]) == pytest.approx(
        2 * warm_s(5.0, [*asks(10.0), *end])
    )


def test_what_is_warm_before_time_0_costs_nothing() -> None:
    assert warm_s(5.0, [*asks(-20.0), *asks(30.0, service="animate")]) == 0.0


def test_nothing_costs_without_requests() -> None:
    assert cost(5.0, [], STUDIO) == TimerCost()


def test_a_longer_keep_alive_never_spends_less() -> None:
    many = asks(*(7.3 * n**0.8 for n in range(50)))
    sums = [cost(idle_s, many, STUDIO).spent for idle_s in (0.0, 1.0, 3.0, 9.0, 27.0)]

    assert sums == sorted(sums)


def test_the_keep_alive_is_the_longest_that_spends_no_more() -> None:
    many = asks(*(7.3 * n**0.8 for n in range(50)))
    spent = cost(4.0, many, STUDIO).spent
    found = keep_alive_s(spent, many, STUDIO)

    assert cost(found, many, STUDIO).spent <= spent
    assert spent < cost(found + 0.01, many, STUDIO).spent


def test_a_sum_that_is_never_spent_leads_to_the_longest_keep_alive() -> None:
    assert keep_alive_s(1e9, asks(1.0, 2.0), STUDIO) == pytest.approx(LONGEST_S)


def test_a_request_that_finds_nothing_warm_waits_for_the_start_and_one_of_the_lead_is_free() -> (
    None
):
    found = cost(5.0, asks(-60.0, 10.0, 15.0), STUDIO)

    assert found.waiting == pytest.approx(START_S * TIER.weight)


def test_no_keep_alive_costs_less_than_the_best() -> None:
    many = asks(*(7.3 * n**0.8 for n in range(50)))
    totals = [c.spent + c.waiting for c in (cost(1.1**n, many, STUDIO) for n in (-5, 0, 20, 40))]

    assert least_total(many, STUDIO) <= min(totals)
