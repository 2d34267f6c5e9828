"""What an operator may change on the page: each a change of a pool's control record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from operator import index
from typing import Any

from streams.pipeline.operator_word import OperatorWord
from streams.records.control import STANDARD, Control, Mode, Pin

__all__ = ["MOST_TEXT", "ChangeInvalid", "OperatorChange", "change_of", "difference"]

MOST_INSTANCES = 10_000
MOST_TEXT = 4_096  # characters
LEAST_REASON = 3  # characters

Changed = Callable[[Control], Control]


class ChangeInvalid(ValueError):
    """A change that cannot be made; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorChange:
    """A change of a pool, by whom and why."""

    pool: str
    word: OperatorWord
    changed: Changed


def change_of(asked: Mapping[str, Any]) -> OperatorChange:
    """The change that a body of JSON asks for.

    Raises
    ------
    ChangeInvalid
        It lacks something, or has it in a wrong form.
    """
    by, reason = _text(asked, "by"), _text(asked, "reason")
    if not by:
        raise ChangeInvalid("say who you are")
    if len(reason) < LEAST_REASON:
        raise ChangeInvalid("say why")
    pool = _text(asked, "pool")
    if not pool:
        raise ChangeInvalid("name the pool")
    make = _CHANGES.get(_text(asked, "change"))
    if make is None:
        raise ChangeInvalid(f"the change is none of {', '.join(_CHANGES)}")
    changed = make(asked)
    return OperatorChange(pool=pool, word=OperatorWord(by=by, reason=reason), changed=changed)


def difference(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> str:
    """What a row of the query `said` changed of the one before it, in words."""
    old = before or {"mode": "on", "paused": False, "budget": None, "pins": []}
    old = {"champion": STANDARD.name, "challenger": None, **old}
    found = []
    if after["mode"] != old["mode"]:
        found.append(f"mode {after['mode']}")
    if after["paused"] != old["paused"]:
        found.append("paused" if after["paused"] else "resumed")
    if after["budget"] != old["budget"]:
        found.append("no budget" if after["budget"] is None else f"budget {after['budget']:g}")
    found += [f"pinned {pin}" for pin in after["pins"] if pin not in old["pins"]]
    found += [f"unpinned {pin}" for pin in old["pins"] if pin not in after["pins"]]
    now, was = _quotas(after), _quotas(old)
    found += [f"quota of {tier} {now[tier]:g}" for tier in now if now[tier] != was.get(tier)]
    found += [f"no quota of {tier}" for tier in was if tier not in now]
    if after["champion"] != old["champion"]:
        found.append(f"promoted {after['champion']}")
    elif after["challenger"] != old["challenger"]:
        name = after["challenger"]
        found.append(f"on trial {name}" if name else f"withdrew {old['challenger']}")
    return "; ".join(found) or "nothing that is shown here"


def _quotas(row: Mapping[str, Any]) -> dict[str, float]:
    """The budget of each tier that has one of its own."""
    return dict(zip(row.get("quota_tiers", ()), row.get("quota_budgets", ()), strict=True))


def _mode(asked: Mapping[str, Any]) -> Changed:
    try:
        mode = Mode(_text(asked, "mode"))
    except ValueError:
        raise ChangeInvalid(f"the mode is none of {', '.join(Mode)}") from None
    return lambda now: replace(now, mode=mode)


def _pause(_: Mapping[str, Any]) -> Changed:
    return lambda now: replace(now, paused=True)


def _resume(_: Mapping[str, Any]) -> Changed:
    return lambda now: replace(now, paused=False)


def _pin(asked: Mapping[str, Any]) -> Changed:
    service = _service(asked)
    least, most = _count(asked, "least") or 0, _count(asked, "most")
    if not least and most is None:
        raise ChangeInvalid("give a least or a most number of instances")
    if most is not None and least > most:
        raise ChangeInvalid(f"at least {least} is more than at most {most}")
    pin = Pin(service=service, least=least, most=most)
    return lambda now: now.pinned(pin)


def _unpin(asked: Mapping[str, Any]) -> Changed:
    service = _text(asked, "service")
    return lambda now: now.unpinned(service)


def _challenge(asked: Mapping[str, Any]) -> Changed:
    name = _text(asked, "name")
    if not name:
        raise ChangeInvalid("name the challenger")
    price = _price(asked)
    if not 0 < price < 1e6:
        raise ChangeInvalid("the price has to be above 0")
    return lambda now: now.challenged(replace(STANDARD, name=name, price=price))


def _price(asked: Mapping[str, Any]) -> float:
    value = asked.get("price")
    if value is None or value == "":
        return STANDARD.price
    try:
        return float(_number(value))
    except (TypeError, ValueError, OverflowError):
        raise ChangeInvalid("the price is no number") from None


def _promote(asked: Mapping[str, Any]) -> Changed:
    name = _text(asked, "name")
    return lambda now: now.promoted(name)


def _withdraw(_: Mapping[str, Any]) -> Changed:
    return Control.withdrawn


_CHANGES: Mapping[str, Callable[[Mapping[str, Any]], Changed]] = {
    "mode": _mode,
    "pause": _pause,
    "resume": _resume,
    "pin": _pin,
    "unpin": _unpin,
    "challenge": _challenge,
    "promote": _promote,
    "withdraw": _withdraw,
}


def _service(asked: Mapping[str, Any]) -> str:
    service = _text(asked, "service")
    if not service:
        raise ChangeInvalid("name the constituent")
    return service


def _text(asked: Mapping[str, Any], name: str) -> str:
    text = asked.get(name, "")
    if not isinstance(text, str):
        raise ChangeInvalid(f"{name} is no text")
    if len(text) > MOST_TEXT:
        raise ChangeInvalid(f"{name} has more than {MOST_TEXT} characters")
    return text.strip()


def _count(asked: Mapping[str, Any], name: str) -> int | None:
    value = asked.get(name)
    if value is None or value == "":
        return None
    try:
        count = index(int(value) if isinstance(value, str) else _number(value))
    except (TypeError, ValueError):
        raise ChangeInvalid(f"{name} is no number of instances") from None
    if not 0 <= count <= MOST_INSTANCES:
        raise ChangeInvalid(f"{name} is not from 0 to {MOST_INSTANCES}")
    return count


def _number(value: Any) -> Any:
    """The value, unless it is true or false, which Python counts among the numbers."""
    if isinstance(value, bool):
        raise TypeError
    return value
