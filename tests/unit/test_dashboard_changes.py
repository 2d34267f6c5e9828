from __future__ import annotations

from typing import Any

import pytest

from streams.dashboard.changes import ChangeInvalid, change_of, difference
from streams.records.control import Control, Mode, Pin, Variant

WHO = {"pool": "default", "by": "ann", "reason": "a sale"}
NOW = Control(pool="default", pins=(Pin(service="a", least=1),))


def changed(**asked: Any) -> Control:
    return change_of({**WHO, **asked}).changed(NOW)


def test_a_change_has_who_and_why() -> None:
    word = change_of({**WHO, "change": "pause"}).word

    assert (word.by, word.reason) == ("ann", "a sale")


def test_each_change_changes_what_it_says() -> None:
    assert changed(change="mode", mode="shadow").mode is Mode.SHADOW
    assert changed(change="pause").paused
    assert not changed(change="resume").paused
    assert changed(change="pin", service="a", least="2", most="3").pins == (
        Pin(service="a", least=2, most=3),
    )
    assert changed(change="unpin", service="a").pins == ()
    assert changed(change="challenge", name="bold", price="0.5").variants[1].price == 0.5


def test_a_pin_takes_the_place_of_one_at_the_same_times_and_of_no_other() -> None:
    mornings = Pin(service="a", least=4, from_minute=480, until_minute=720)
    before = NOW.pinned(mornings)
    after = change_of({**WHO, "change": "pin", "service": "a", "least": 2}).changed(before)

    assert after.pins == (mornings, Pin(service="a", least=2))


def test_a_quota_that_is_set_or_removed_is_told() -> None:
    before = {"mode": "on", "paused": False, "budget": None, "pins": []}
    set_ = {**before, "champion": "standard", "challenger": None}
    both = {**set_, "quota_tiers": ["gold", "free"], "quota_budgets": [2.0, 0.5]}
    one = {**set_, "quota_tiers": ["gold"], "quota_budgets": [3.0]}

    assert difference(before, both) == "quota of gold 2; quota of free 0.5"
    assert difference(both, one) == "quota of gold 3; no quota of free"


def test_a_challenger_is_promoted_or_withdrawn() -> None:
    tried = NOW.challenged(Variant(name="bold"))

    promote = change_of({**WHO, "change": "promote", "name": "bold"})
    withdraw = change_of({**WHO, "change": "withdraw"})

    assert promote.changed(tried).champion.name == "bold"
    assert withdraw.changed(tried).challenger is None


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"by": ""}, "say who you are"),
        ({"by": 3}, "by is no text"),
        ({"reason": " "}, "say why"),
        ({"pool": " "}, "name the pool"),
        ({"change": "explode"}, "the change is none of mode, pause"),
        ({"change": "mode", "mode": "maybe"}, "the mode is none of on"),
        ({"change": "pin", "least": 1}, "name the constituent"),
        ({"change": "pin", "service": "a"}, "a least or a most"),
        ({"change": "pin", "service": "a", "least": 3, "most": 2}, "at least 3 is more than"),
        ({"change": "pin", "service": "a", "least": "many"}, "least is no number"),
        ({"change": "pin", "service": "a", "least": float("inf")}, "least is no number"),
        ({"change": "pin", "service": "a", "least": 1.9}, "least is no number"),
        ({"change": "pin", "service": "a", "most": True}, "most is no number"),
        ({"change": "challenge"}, "name the challenger"),
        ({"change": "challenge", "name": "x", "price": 10**400}, "the price is no number"),
        ({"change": "challenge", "name": "x", "price": "cheap"}, "the price is no number"),
        ({"change": "challenge", "name": "x", "price": -1}, "above 0"),
        ({"change": "challenge", "name": "x", "price": 0}, "above 0"),
        ({"change": "challenge", "name": "x", "price": False}, "the price is no number"),
    ],
)
def test_a_change_that_cannot_be_is_refused_in_a_sentence(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ChangeInvalid, match=said):
        change_of({**WHO, "change": "pause", **asked})


def test_promoting_what_is_not_on_trial_is_refused() -> None:
    change = change_of({**WHO, "change": "promote", "name": "bold"})

    with pytest.raises(ValueError, match="no variant 'bold'"):
        change.changed(NOW)


def test_what_is_not_pinned_cannot_be_unpinned() -> None:
    with pytest.raises(LookupError, match="'b' is not pinned in pool 'default'"):
        changed(change="unpin", service="b")


def test_what_was_changed_is_told_by_what_was_before() -> None:
    before = {
        "mode": "on", "paused": False, "budget": None, "pins": ["a: at least 1"],
        "champion": "standard", "challenger": None,
    }  # fmt: skip
    after = {**before, "mode": "off", "paused": True, "budget": 2.0, "pins": ["b: at least 2"]}

    assert difference(before, after) == (
        "mode off; paused; budget 2; pinned b: at least 2; unpinned a: at least 1"
    )
    assert difference(after, {**after, "challenger": "bold"}) == "on trial bold"
    assert difference({**after, "challenger": "bold"}, after) == "withdrew bold"
    assert difference(None, {**before, "champion": "bold", "pins": []}) == "promoted bold"
    assert difference(before, before) == "nothing that is shown here"
