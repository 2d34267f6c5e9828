"""Records why a decision was made: bounded in number, and only where something has changed."""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from streams.allocator import packing
from streams.allocator.economy import InstanceEconomy
from streams.allocator.valuation.catalog_index import Numbers
from streams.allocator.valuation.occupancy import Floats
from streams.records import Action, Command
from streams.records.control import Mode
from streams.records.verdicts import Alternative, Choice, Expected, Verdict

__all__ = ["verdicts"]

MOST_EXPECTED = 5
MOST_ALTERNATIVES = 3
FAR = 6  # log2 of value over cost is clipped to this
NEWS = 2  # change of that log2 that is published again
CHOICES = {
    Action.PROVISION: Choice.START,
    Action.QUEUE: Choice.QUEUE,
    Action.RELEASE: Choice.RELEASE,
}
ORDER = list(Choice)
NOTHING_SAID = (ORDER.index(Choice.LEAVE), -FAR)

Said = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _VerdictCase:
    part: int
    choice: Choice
    instance: int
    value: float
    cost: float
    bound: str = "value"
    tier: str = ""
    command_id: str = ""


def verdicts(
    economy: InstanceEconomy,
    choices: Sequence[packing.PackingChoice],
    commands: Iterable[Command],
    said: Said,
    *,
    mode: Mode,
    most: int,
) -> tuple[list[Verdict], Said]:
    """The verdicts to publish: one per constituent whose last published one no longer holds.

    Parameters
    ----------
    said
        Per constituent the choice last published, and the rounded log2 of value over cost.
    most
        Most verdicts about constituents without a command; the rest follows later.

    Returns
    -------
    The verdicts, and `said` updated with them.
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
        news[economy.index.constituents[case.part].service] = _said(case)
        made.append(_verdict(economy, case, mode, ()))
    return made, news


def _commanded(
    economy: InstanceEconomy, command: Command, choice: packing.PackingChoice | None
) -> _VerdictCase:
    part = economy.index.number[command.service]
    kind = CHOICES[command.action]
    if kind is Choice.RELEASE:
        return _VerdictCase(
            part, kind, economy.have[part], command.cost, command.value,
            tier=command.tier, command_id=command.command_id,
        )  # fmt: skip
    bound, instance = "value", economy.have[part] + 1
    if choice:
        bound = choice.bound if kind is Choice.QUEUE else bound
        bound = "pin" if choice.want.pinned else bound
        instance = dict(choice.want.parts)[command.service]
    return _VerdictCase(
        part, kind, instance, command.value, command.cost, bound, command.tier, command.command_id
    )


def _uncommanded(
    economy: InstanceEconomy, said: Said, told: Container[int]
) -> Iterator[_VerdictCase]:
    """Constituents without a command whose last published verdict no longer holds."""
    have = np.array(economy.have, np.int64)
    before = np.full((len(have), 2), NOTHING_SAID, np.int64)
    for name, last in said.items():
        if name in economy.index.number:
            before[economy.index.number[name]] = last
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
        yield _VerdictCase(
            part,
            ORDER[int(choice[part])],
            max(1, count),
            float(value[part]),
            float(cost[part]),
            "pin" if pinned else "value",
        )


def _said(case: _VerdictCase) -> tuple[int, int]:
    """What is kept of a published verdict: its choice, and the log2 of value over cost."""
    doublings = _doublings(np.array([case.value]), np.array([case.cost]))
    return ORDER.index(case.choice), int(doublings[0])


def _is_news(new: tuple[int, int], last: tuple[int, int]) -> bool:
    return new[0] != last[0] or abs(new[1] - last[1]) >= NEWS


def _doublings(value: Floats, cost: Floats) -> Numbers:
    ratio = np.maximum(value, 2.0**-FAR * cost) / np.maximum(cost, 1e-300)
    return np.clip(np.round(np.log2(np.maximum(ratio, 2.0**-FAR))), -FAR, FAR).astype(np.int64)


def _rivals(choices: Sequence[packing.PackingChoice]) -> tuple[Alternative, ...]:
    """The closest alternatives: the weakest wants granted, the strongest refused."""
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


def _density(want: packing.InstanceWant) -> float:
    return want.density


def _verdict(
    economy: InstanceEconomy, case: _VerdictCase, mode: Mode, rivals: tuple[Alternative, ...]
) -> Verdict:
    constituent = economy.index.constituents[case.part]
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


def _expected(economy: InstanceEconomy, part: int) -> Iterator[Expected]:
    index, mean = economy.index, economy.view.asked
    found = [
        (float(mean[row, column]), index.services[row], tier.tier)
        for row in index.composites_of(part)
        for column, tier in enumerate(index.tiers)
        if mean[row, column] > 0.0
    ]
    for requests, service, tier in heapq.nlargest(MOST_EXPECTED, found):
        yield Expected(service=service, tier=tier, requests=requests)


def _others(economy: InstanceEconomy, case: _VerdictCase) -> Iterator[Alternative]:
    """The other choices for the constituent itself."""
    cost, keep = float(economy.start_cost[case.part]), float(economy.keep_cost[case.part])
    match case.choice:
        case Choice.START | Choice.QUEUE:
            yield Alternative(what="leave it", value=0.0, cost=0.0)
        case Choice.LEAVE:
            yield Alternative(what="start one", value=case.value, cost=cost)
        case Choice.KEEP:
            yield Alternative(what="give one back", value=keep, cost=case.value)
            level = economy.levels.level(case.part, case.instance + 1)
            value = level.value if level else 0.0
            yield Alternative(what="start one more", value=value, cost=cost)
        case Choice.RELEASE:
            yield Alternative(what="keep it", value=case.value, cost=keep)
