"""One decision on a pool: which instances to start, preempt, queue and release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from streams.allocator.config import AllocatorConfig
from streams.allocator.economy import InstanceEconomy
from streams.allocator.limits import beyond_quota, by_worth, limits_of, room_of
from streams.allocator.own_pasts import PoolPasts
from streams.allocator.packing import IdleInstance, InstanceWant, PackingChoice, PoolRoom, pack
from streams.allocator.state import PoolState, ProvisionUnderWay, QueuedWant, ReleaseUnderWay
from streams.allocator.valuation.advised_values import MORE
from streams.allocator.verdicts import verdicts
from streams.allocator.view import PoolView
from streams.allocator.wants import InstanceWants
from streams.records import Action, Command
from streams.records.control import Mode, Variant
from streams.records.verdicts import Verdict

__all__ = ["PoolDecision", "PoolPlan"]


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """Result of a decision."""

    commands: Sequence[Command] = ()
    verdicts: Sequence[Verdict] = ()


class PoolDecision:
    """Computes one decision; call `take` once. The state given is not changed.

    Parameters
    ----------
    pasts
        Of the constituents: they hear how many instances pay by the demand, and advise how many
        to keep.
    label
        Prefix of command ids.
    """

    def __init__(
        self,
        config: AllocatorConfig,
        state: PoolState,
        view: PoolView,
        variant: Variant,
        pasts: PoolPasts,
        *,
        label: str = "",
    ) -> None:
        self.config, self.variant, self.view, self._label = config, variant, view, label
        self.horizon_ms = view.horizon_ms or config.horizon_ms
        self._before, self._serial = state, state.serial
        # Private copies: the new state is collected in them.
        self._starting, self._releasing = dict(state.starting), dict(state.releasing)
        self._held = {name: end for name, end in state.held.items() if end > view.now_ms}
        self._waiting: dict[str, QueuedWant] = {}
        self._below: dict[str, int] = {}
        patience = {name: self._patience(queued) for name, queued in state.queue.items()}
        self._choices: list[PackingChoice] = []
        self._causes: dict[str, str] = {}  # what decided on a release besides its value, by id
        self.economy = InstanceEconomy(
            view,
            self.horizon_ms,
            config.most,
            held=frozenset(self._held),
            limits=limits_of(state.control, view),
            price=variant.price,
        )
        self.economy.heed(pasts.advise(self.economy.paying()))
        self._wants = InstanceWants(self.economy, patience)

    def take(self, mode: Mode) -> tuple[PoolState, PoolPlan]:
        """Decide; returns the new state and the plan."""
        commands = self._commands()
        news, said = verdicts(
            self.economy, self._choices, commands, self._causes, self._before.said,
            mode=mode, most=self.config.most_verdicts,
        )  # fmt: skip
        after = self._before._replace(
            serial=self._serial,
            starting=self._starting, releasing=self._releasing,
            queue=self._waiting, below=self._below, held=self._held,
            said=said,
        )  # fmt: skip
        return after, PoolPlan(commands, news)

    def _commands(self) -> list[Command]:
        """All commands: what is over a quota first, preemptions and starts, queued wants, releases."""
        economy, view = self.economy, self.view
        room = room_of(economy, self._before.control)
        if room.budget + view.leaving < 0.0:  # lowered, or spent by others
            return self._correct(self._over(-room.budget - view.leaving))
        over = list(beyond_quota(economy, room))
        room = reduce(PoolRoom.more, over, room)
        wants = list(self._wants.initial())
        if wants:
            have, spare = economy.existing(), lambda: [i for i in economy.spare() if i not in over]
            self._choices = pack(wants, room, spare, have, self._wants.then)
        choices = self._choices
        why = "tier {!r} is over its quota"
        back = [self._give_back(idle, why.format(idle.tier), "quota") for idle in over]
        started = [c for choice in choices if choice.granted for c in self._start(choice)]
        queued = list(self._queued(choices))
        taken = [*over, *(victim for choice in choices for victim in choice.taken)]
        gone = Counter([idle.service for idle in taken])
        return [*back, *started, *queued, *self._releases(gone)]

    def _correct(self, releases: Iterable[Command]) -> list[Command]:
        """Only release; the queue and the idle times stay as they are."""
        self._waiting, self._below = dict(self._before.queue), dict(self._before.below)
        return list(releases)

    def _over(self, excess: float) -> Iterator[Command]:
        """Release the least valuable idle instances until the rest fits the budget."""
        for idle in by_worth(self.economy):
            if excess <= 0.0:
                return
            excess -= idle.price
            yield self._give_back(idle, "the budget is overdrawn", "budget")

    def _give_back(self, idle: IdleInstance, why: str, bound: str) -> Command:
        keep_cost = float(self.economy.keep_cost[self.view.index.number[idle.service]])
        return self._release(
            idle.service,
            1,
            bound,
            value=keep_cost,
            cost=idle.value,
            tier=idle.tier,
            reason=(
                f"{why}: of what is idle this is worth least, {idle.value:.3g} for {keep_cost:.3g}"
            ),
        )

    def _patience(self, queued: QueuedWant) -> float:
        """Weight of a queued want: above 1 once it has waited for `starve_ms`."""
        waited = (self.view.now_ms - queued.since_ms) / self.config.starve_ms
        return 1 + waited if waited >= 1 else 1.0

    def _start(self, choice: PackingChoice) -> Iterator[Command]:
        want, tier = choice.want, choice.want.tier
        long = " which has waited too long" if want.patience > 1 else ""
        long = " which is pinned" if want.pinned else long
        claim = want.value if want.pinned else want.claim
        for victim in choice.taken:
            yield self._release(
                victim.service,
                1,
                choice.bound,
                value=claim,
                cost=victim.value,
                tier=tier,
                reason=(
                    f"{choice.bound} is short: {_names(want)} for tier {tier!r}{long} counts"
                    f" {claim:.3g}, this idle instance {victim.value:.3g}"
                ),
            )
        for name, k in want.parts:
            queued = self._before.queue.get(name)
            since = f"; queued as {queued.command_id}" if queued else ""
            value, cost = self._shared(want, name)
            command = self._command(
                Action.PROVISION,
                name,
                value=value,
                cost=cost,
                tier=tier,
                reason=self._why(want, name, k, tier) + since,
            )
            self._starting[command.command_id] = ProvisionUnderWay(name, 1, command.expires_ms)
            if want.patience > 1:
                self._held[name] = self.view.now_ms + self.config.hold_ms
            yield command

    def _queued(self, choices: list[PackingChoice]) -> Iterator[Command]:
        """Queue what does not fit, with one command each; other queue entries are dropped."""
        before = self._before.queue
        started = {name for c in choices if c.granted for name, _ in c.want.parts}
        for choice in choices:
            for name, k in () if choice.granted else choice.want.parts:
                if name in self._waiting or name in started:
                    continue
                known = before.get(name)
                if known and known.expires_ms > self.view.now_ms:
                    self._waiting[name] = known
                    continue
                command = self._queue(choice, name, k)
                since_ms = known.since_ms if known else self.view.now_ms
                self._waiting[name] = QueuedWant(command.command_id, since_ms, command.expires_ms)
                yield command

    def _queue(self, choice: PackingChoice, name: str, k: int) -> Command:
        want, tier = choice.want, choice.want.tier
        value, cost = self._shared(want, name)
        return self._command(
            Action.QUEUE,
            name,
            value=value,
            cost=cost,
            tier=tier,
            priority=want.priority + max(0.0, want.density) / (1 + max(0.0, want.density)),
            life_ms=self.config.queue_ms,
            reason=f"no {choice.bound} left for it; {self._why(want, name, k, tier)}",
        )

    def _releases(self, taken: Counter[str]) -> Iterator[Command]:
        """Release idle instances that have not paid for `settle_ms`."""
        economy, before = self.economy, self._before.below
        least = 1 - self.variant.slack
        for part in economy.doubtful(least):
            name = economy.index.constituents[part].service
            lost = list(economy.worthless(part, taken[name], least))
            if not lost:
                continue
            since_ms = self._below[name] = before.get(name, self.view.now_ms)
            told = economy.have[part] - taken[name] > economy.most[part]
            if told or self.view.now_ms - since_ms >= self.variant.settle_ms:
                cost = float(economy.keep_cost[part])
                yield self._release(
                    name,
                    len(lost),
                    "pin" if told else "value",
                    value=cost * len(lost),
                    cost=sum(lost),
                    reason=(
                        f"{len(lost)} idle of {economy.have[part]}: worth at most"
                        f" {max(lost):.3g} each in the next {self.horizon_ms / 1000:.0f} s,"
                        f" kept for {cost:.3g}"
                    ),
                )

    def _release(self, name: str, count: int, bound: str, **terms: Any) -> Command:
        command = self._command(Action.RELEASE, name, count=count, **terms)
        self._causes[command.command_id] = bound
        of = self.view.serving.get(name, ())
        self._releasing[command.command_id] = ReleaseUnderWay(name, count, command.expires_ms, of)
        return command

    def _shared(self, want: InstanceWant, name: str) -> tuple[float, float]:
        """The share of one constituent in the value and cost of a joint want."""
        cost = float(self.economy.start_cost[self.economy.index.number[name]])
        share = cost / want.cost if want.cost > 0 else 1 / len(want.parts)
        return want.value * share, want.cost * share

    def _why(self, want: InstanceWant, name: str, k: int, tier: str) -> str:
        economy = self.economy
        part = economy.index.number[name]
        told = want.value <= MORE * want.cost and not want.pinned  # raised to what just pays
        others = ", ".join(other for other, _ in want.parts if other != name)
        return (
            f"instance {k} is used within {self.horizon_ms / 1000:.0f} s with probability"
            f" {economy.chance(part, k):.3g} and starts in"
            f" {self.view.timing.warm_up_ms[part] / 1000:.3g} s"
            + (f"; together with {others}" if others else "")
            + f", mostly for tier {tier!r}: worth {want.value:.3g}, costs {want.cost:.3g}"
            + (f"; an operator wants at least {economy.least[part]}" if want.pinned else "")
            + (f"; its own past advises {economy.advised(part)}" if told else "")
        )

    def _command(
        self,
        action: Action,
        name: str,
        *,
        value: float,
        cost: float,
        reason: str,
        count: int = 1,
        tier: str = "",
        priority: float = 0.0,
        life_ms: int | None = None,
    ) -> Command:
        self._serial += 1
        now_ms = self.view.now_ms
        return Command(
            command_id=f"{self._label}{self.view.pool.pool}/{name}/{now_ms}/{self._serial}",
            pool=self.view.pool.pool,
            action=action,
            service=name,
            count=count,
            value=value,
            cost=cost,
            priority=priority,
            issued_ms=now_ms,
            expires_ms=now_ms + (life_ms or self.config.command_ms),
            reason=reason,
            tier=tier,
        )


def _names(want: InstanceWant) -> str:
    return " and ".join(name for name, _ in want.parts)
