from __future__ import annotations

from dataclasses import replace

from test_claims import claims, instance, took

from streams.records import Instance, InstanceState
from streams.request_path.core.claims import InstanceClaims
from streams.request_path.envoy.decision_service import WithheldInstances

STARTED_FOR_A_REQUEST = replace(instance("x"), command_id="standard/r1", changed_ms=1_000)


def withheld(free: InstanceClaims, *observed: Instance) -> WithheldInstances:
    made = WithheldInstances(free, deadline_ms=10_000)
    for one in observed:
        made.observe(one)
    return made


def test_an_instance_that_a_command_started_is_free_at_once() -> None:
    free = claims()
    withheld(free, instance("x"))

    assert took(free.claim("a")) == "x"


def test_an_instance_started_for_a_request_is_withheld_for_it() -> None:
    free = claims()
    withheld(free, STARTED_FOR_A_REQUEST)

    assert free.claim("a") is None


def test_it_is_free_when_that_request_has_used_it() -> None:
    free = claims()
    withheld(free, STARTED_FOR_A_REQUEST, replace(STARTED_FOR_A_REQUEST, uses=1))

    assert took(free.claim("a")) == "x"


def test_it_is_free_when_that_request_must_have_ended() -> None:
    free = claims()
    waiting = withheld(free, STARTED_FOR_A_REQUEST)
    waiting.expire(11_000)
    assert free.claim("a") is None
    waiting.expire(11_001)

    assert took(free.claim("a")) == "x"


def test_one_that_ends_meanwhile_is_never_free() -> None:
    free = claims()
    waiting = withheld(
        free, STARTED_FOR_A_REQUEST, replace(STARTED_FOR_A_REQUEST, state=InstanceState.GONE)
    )
    waiting.expire(11_001)

    assert free.claim("a") is None


def test_one_that_was_started_here_is_not_withheld() -> None:
    free = claims("x")
    withheld(free, STARTED_FOR_A_REQUEST)

    assert took(free.claim("a")) == "x"
