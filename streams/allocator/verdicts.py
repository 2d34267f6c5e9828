"""The facts of a decision, for whoever asks later why: bounded, and only what is news."""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from streams.allocator import packing
from streams.allocator.economy import Economy
from streams.allocator.valuation.catalog_index import Numbers
from streams.allocator.valuation.tail_probability import Floats
from streams.records import Action, Command
from streams.records.control import Mode
from streams.records.verdicts import Alternative, Choice, Expected, Verdict

__all__ = ["verdicts"]

MOST_EXPECTED = 5
MOST_ALTERNATIVES = 3
FAR = 6  # doublings of value over cost that are told apart
NEWS = 2  # doublings from which the same choice is worth telling again
CHOICES = {
    Action.PROVISION: Choice.START,
    Action.QUEUE: Choice.QUEUE,
    Action.RELEASE: Choice.RELEASE,
}
ORDER = list(Choice)
NOTHING_SAID = (ORDER.index(Choice.LEAVE), -FAR)

Said = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Case:
    part: int
    choice: Choice
    instance: int
    value: float
    cost: float
    bound: str = "value"
    tier: str = ""
    command_id: str = ""


def verdicts(
    economy: Economy,
    choices: Sequence[packing.Choice],
    commands: Iterable[Command],
    said: Said,
    *,
    mode: Mode,
    most: int,
) -> tuple[list[Verdict], Said]:
    """What was decided about each constituent, where it is news.

    Parameters
    ----------
    said
        Of each constituent the last choice told, and how many times its value then was doubled
        over its cost.
    most
        Of those without a command; what is left out comes with a later decision.

    Returns
    -------
    The verdicts, and `said` with them.
    """
    bounds = {name: choice for choice in choices for name, _ in choice.want.parts}
    rivals = _rivals(choices)
    made, told, news = list[Verdict](), set[int](), dict(said)
    for command in commands:
        case = _commanded(economy, command, bounds.get(command.service))
        told.add(case.part)
        name, new = command.service, _said(case)
        if _is_news(new, news.get(name, NOTHING_SAID)):
            news[name] = new
        elif mode is not Mode.ON:
            continue
        made.append(_verdict(economy, case, mode, rivals))
    for case in islice(_uncommanded(economy, news, told), most):
        news[economy.anatomy.constituents[case.part].service] = _said(case)
        made.append(_verdict(economy, case, mode, ()))
    return made, news


def _commanded(economy: Economy, command: Command, choice: packing.Choice | None) -> _Case:
    part = economy.anatomy.number[command.service]
    kind = CHOICES[command.action]
    if kind is Choice.RELEASE:
        return _Case(
            part, kind, economy.have[part], command.cost, command.value,
            tier=command.tier, command_id=command.command_id,
        )  # fmt: skip
    bound, instance = "value", economy.have[part] + 1
    if choice:
        bound = choice.bound if kind is Choice.QUEUE else bound
        bound = "pin" if choice.want.pinned else bound
        instance = dict(choice.want.parts)[command.service]
    return _Case(
        part, kind, instance, command.value, command.cost, bound, command.tier, command.command_id
    )


def _uncommanded(economy: Economy, said: Said, told: Container[int]) -> Iterator[_Case]:
    """Those kept or left alone whose last verdict may no longer be true, looked over at once."""
    have = np.array(economy.have, np.int64)
    before = np.full((len(have), 2), NOTHING_SAID, np.int64)
    for name, last in said.items():
        if name in economy.anatomy.number:
            before[economy.anatomy.number[name]] = last
    kept = have > 0
    value = np.where(kept, economy.last_value(), economy.first_value())
    cost = np.where(kept, economy.keep_cost, economy.start_cost)
    choice = np.where(kept, ORDER.index(Choice.KEEP), ORDER.index(Choice.LEAVE))
    changed = (choice != before[:, 0]) | (abs(_doublings(value, cost) - before[:, 1]) >= NEWS)
    for part in np.flatnonzero(changed).tolist():
        if part in told:
            continue
        count = economy.have[part]
        pinned = count >= economy.most[part] or count <= economy.least[part] > 0
        yield _Case(
            part,
            ORDER[int(choice[part])],
            max(1, count),
            float(value[part]),
            float(cost[part]),
            "pin" if pinned else "value",
        )


def _said(case: _Case) -> tuple[int, int]:
    """What is remembered of a verdict: its choice, and the doublings of its value over its cost."""
    doublings = _doublings(np.array([case.value]), np.array([case.cost]))
    return ORDER.index(case.choice), int(doublings[0])


def _is_news(new: tuple[int, int], last: tuple[int, int]) -> bool:
    return new[0] != last[0] or abs(new[1] - last[1]) >= NEWS


def _doublings(value: Floats, cost: Floats) -> Numbers:
    ratio = np.maximum(value, 2.0**-FAR * cost) / np.maximum(cost, 1e-300)
    return np.clip(np.round(np.log2(np.maximum(ratio, 2.0**-FAR))), -FAR, FAR).astype(np.int64)


def _rivals(choices: Sequence[packing.Choice]) -> tuple[Alternative, ...]:
    """What came closest to being decided otherwise: the least that was done, the best that was not."""
    done = [c.want for c in choices if c.granted]
    refused = [c.want for c in choices if not c.granted]
    near = [("started", w) for w in heapq.nsmallest(MOST_ALTERNATIVES, done, _density)]
    near += [("did not fit", w) for w in heapq.nlargest(MOST_ALTERNATIVES, refused, _density)]
    return tuple(
        Alternative(
            what=f"{' and '.join(name for name, _ in want.parts)}: {how}",
            value=want.value,
            cost=want.cost,
        )
        for how, want in near
    )


def _density(want: packing.Want) -> float:
    return want.density


def _verdict(economy: Economy, case: _Case, mode: Mode, rivals: tuple[Alternative, ...]) -> Verdict:
    constituent = economy.anatomy.constituents[case.part]
    view = economy.view
    return Verdict(
        pool=view.pool.pool,
        service=constituent.service,
        at_ms=view.now_ms,
        choice=case.choice,
        mode=mode,
        command_id=case.command_id,
        instance=case.instance,
        have=economy.have[case.part],
        chance=economy.chance(case.part, case.instance),
        value=case.value,
        cost=case.cost,
        bound=case.bound,
        tier=case.tier,
        price=constituent.price,
        horizon_ms=economy.horizon_ms,
        warm_up_ms=round(float(view.timing.warm_up_ms[case.part])),
        expected=tuple(_expected(economy, case.part)),
        alternatives=(*_others(economy, case), *rivals),
    )


def _expected(economy: Economy, part: int) -> Iterator[Expected]:
    anatomy, mean = economy.anatomy, economy.view.asked.mean
    found = [
        (float(mean[row, column]), anatomy.services[row], tier.tier)
        for row in anatomy.composites_of(part)
        for column, tier in enumerate(anatomy.tiers)
        if mean[row, column] > 0.0
    ]
    for requests, service, tier in heapq.nlargest(MOST_EXPECTED, found):
        yield Expected(service=service, tier=tier, requests=requests)


def _others(economy: Economy, case: _Case) -> Iterator[Alternative]:
    """What else could have been done with the constituent itself."""
    cost, keep = float(economy.start_cost[case.part]), float(economy.keep_cost[case.part])
    match case.choice:
        case Choice.START | Choice.QUEUE:
            yield Alternative(what="leave it", value=0.0, cost=0.0)
        case Choice.LEAVE:
            yield Alternative(what="start one", value=case.value, cost=cost)
        case Choice.KEEP:
            yield Alternative(what="give one back", value=keep, cost=case.value)
            level = economy.levels.level(case.part, case.instance + 1)
            value = level.value * float(economy.lead[case.part]) if level else 0.0
            yield Alternative(what="start one more", value=value, cost=cost)
        case Choice.RELEASE:
            yield Alternative(what="keep it", value=case.value, cost=keep)
