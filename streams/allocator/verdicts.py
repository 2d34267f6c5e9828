"""Records why a decision was made: bounded in number, and only where something has changed."""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from streams.allocator import packing
from streams.allocator.economy import InstanceEconomy
from streams.allocator.published_verdicts import PublishedVerdicts
from streams.allocator.valuation.leanings import ORDER, Leaning, doublings, is_news
from streams.records import Action, Command
from streams.records.control import Mode
from streams.records.verdicts import Alternative, Choice, Expected, Verdict

__all__ = ["verdicts"]

MOST_EXPECTED = 5
MOST_ALTERNATIVES = 3
CHOICES = {
    Action.PROVISION: Choice.START,
    Action.QUEUE: Choice.QUEUE,
    Action.RELEASE: Choice.RELEASE,
}


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
    causes: Mapping[str, str],
    said: PublishedVerdicts,
    *,
    mode: Mode,
    most: int,
) -> tuple[list[Verdict], PublishedVerdicts]:
    """The verdicts to publish: one per constituent whose last published one no longer holds.

    Parameters
    ----------
    causes
        What decided on each release, by the id of its command.
    said
        What was published last.
    most
        Most verdicts about constituents without a command; the rest follows later.

    Returns
    -------
    The verdicts, and `said` updated with them.
    """
    bounds = {name: choice for choice in choices for name, _ in choice.want.parts}
    rivals = _rivals(choices)
    made: list[Verdict] = []
    told: set[int] = set()
    news: dict[str, Leaning] = {}
    for command in commands:
        cause = causes.get(command.command_id, "value")
        case = _commanded(economy, command, cause, bounds.get(command.service))
        told.add(case.part)
        name, new = command.service, _leaning(case)
        if is_news(new, news.get(name) or said.of(name)):
            news[name] = new
        elif mode is not Mode.ON:
            continue
        made.append(_verdict(economy, case, mode, rivals))
    for case in islice(_uncommanded(economy, said, told), most):
        news[economy.index.constituents[case.part].service] = _leaning(case)
        made.append(_verdict(economy, case, mode, ()))
    return made, said.including(news, economy.index)


def _commanded(
    economy: InstanceEconomy, command: Command, cause: str, choice: packing.PackingChoice | None
) -> _VerdictCase:
    part = economy.index.number[command.service]
    kind = CHOICES[command.action]
    if kind is Choice.RELEASE:
        return _VerdictCase(
            part, kind, economy.have[part], command.cost, command.value,
            cause, command.tier, command.command_id,
        )  # fmt: skip
    bound, instance = cause, economy.have[part] + 1
    if choice:
        bound = choice.bound if kind is Choice.QUEUE else bound
        bound = "pin" if choice.want.pinned else bound
        instance = dict(choice.want.parts)[command.service]
    return _VerdictCase(
        part, kind, instance, command.value, command.cost, bound, command.tier, command.command_id
    )


def _uncommanded(
    economy: InstanceEconomy, said: PublishedVerdicts, told: Container[int]
) -> Iterator[_VerdictCase]:
    """Constituents without a command whose last published verdict no longer holds."""
    keep = economy.last_value(), economy.keep_cost
    leave = economy.first_value(), economy.start_cost
    for part in said.differing(economy.view.have, keep, leave, economy.index):
        if part in told:
            continue
        count = economy.have[part]
        value, cost = keep if count else leave
        pinned = count >= economy.most[part] or count <= economy.least[part] > 0
        yield _VerdictCase(
            part,
            Choice.KEEP if count else Choice.LEAVE,
            max(1, count),
            float(value[part]),
            float(cost[part]),
            "pin" if pinned else "value",
        )


def _leaning(case: _VerdictCase) -> Leaning:
    return ORDER.index(case.choice), doublings(case.value, case.cost)


def _rivals(choices: Sequence[packing.PackingChoice]) -> tuple[Alternative, ...]:
    """The closest alternatives: the weakest wants granted, the strongest refused."""
    if not choices:
        return ()
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
        (requests, index.services[row], tier.tier)
        for row in index.composites_of(part)
        for requests, tier in zip(mean[row].tolist(), index.tiers, strict=True)
        if requests > 0.0
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
