"""One decision for a pool: what to start, what to take, what to queue and what to release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from streams.allocator.economy import Economy
from streams.allocator.limits import beyond_quota, by_worth, limits_of, room_of
from streams.allocator.packing import Choice, Idle, Want, pack
from streams.allocator.state import PoolRow, Queued, Releasing, Starting
from streams.allocator.verdicts import verdicts
from streams.allocator.view import PoolView
from streams.records import Action, Command
from streams.records.control import Mode, Variant
from streams.records.verdicts import Verdict

__all__ = ["Config", "Decision", "Plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Parameters of the allocator."""

    tick_ms: int = 1_000  # how often a pool is decided upon, at least
    horizon_ms: int = 60_000  # when no demand names one
    command_ms: int = 10_000  # life of a command, and how long it counts as under way
    queue_ms: int = 60_000  # life of a queued want
    serve_ms: float = 1_000.0  # time to serve a request, until measured
    most: int = 64  # instances of a constituent
    starve_ms: int = 120_000  # after so long in the queue a want comes before all others
    most_verdicts: int = 100  # of a decision, without a command
    hold_ms: int = 60_000  # what it is then given is not taken back for so long


@dataclass(frozen=True, slots=True)
class Plan:
    """What a decision comes to."""

    commands: Sequence[Command] = ()
    verdicts: Sequence[Verdict] = ()


class Decision:
    """One decision, taken once; the row that it begins with is left as it is.

    Parameters
    ----------
    label
        Put before the ids of commands.
    """

    def __init__(
        self, config: Config, row: PoolRow, view: PoolView, variant: Variant, *, label: str = ""
    ) -> None:
        self.config, self.variant, self._label = config, variant, label
        self.view = view
        self.horizon_ms = view.horizon_ms or config.horizon_ms
        self._before, self._serial = row, row.serial
        # What the commands add to these, or leave of them, is gathered here and put into a new row.
        self._starting, self._releasing = dict(row.starting), dict(row.releasing)
        self._held = {name: end for name, end in row.held.items() if end > view.now_ms}
        self._waiting, self._below = dict[str, Queued](), dict[str, int]()
        patience = {name: self._patience(queued) for name, queued in row.queue.items()}
        self._choices: list[Choice] = []
        self.economy = Economy(
            view,
            self.horizon_ms,
            config.most,
            patience=patience,
            held=frozenset(self._held),
            limits=limits_of(row.control, view),
            price=variant.price,
        )

    def take(self, mode: Mode) -> tuple[PoolRow, Plan]:
        """Decide: what is remembered of the pool afterwards, the commands and why."""
        commands = self._commands()
        news, said = verdicts(
            self.economy, self._choices, commands, self._before.said,
            mode=mode, most=self.config.most_verdicts,
        )  # fmt: skip
        view, chance = self.view, self.economy.levels.chance[:, 0]
        watch = self._before.watch.learn(view.anatomy, chance, view.now_ms, self.horizon_ms)
        after = replace(
            self._before,
            serial=self._serial,
            starting=self._starting,
            releasing=self._releasing,
            queue=self._waiting,
            below=self._below,
            held=self._held,
            said=said,
            watch=watch,
        )
        return after, Plan(commands, news)

    def _commands(self) -> list[Command]:
        """All commands: what is taken and started, then what is queued and released."""
        economy, view = self.economy, self.view
        room = room_of(economy, self._before.control)
        if room.budget + view.leaving < 0.0:  # it was lowered, or others have spent it
            return self._correct(self._over(-room.budget - view.leaving))
        over = list(beyond_quota(economy, room))
        if over:
            return self._correct(
                self._give_back(idle, f"tier {idle.tier!r} is over its quota") for idle in over
            )
        choices = self._choices = pack(
            economy.wants(), room, economy.spare, view.have, economy.then
        )
        started = [c for choice in choices if choice.granted for c in self._start(choice)]
        queued = list(self._queued(choices))
        taken = Counter(victim.service for choice in choices for victim in choice.taken)
        return [*started, *queued, *self._releases(taken)]

    def _correct(self, releases: Iterable[Command]) -> list[Command]:
        """Give back and do nothing else: what waits goes on waiting."""
        self._waiting, self._below = dict(self._before.queue), dict(self._before.below)
        return list(releases)

    def _over(self, excess: float) -> Iterator[Command]:
        """Give back the least valuable of what is idle until the rest is within the budget."""
        for idle in by_worth(self.economy):
            if excess <= 0.0:
                return
            excess -= idle.price
            yield self._give_back(idle, "the budget is overdrawn")

    def _give_back(self, idle: Idle, why: str) -> Command:
        keep_cost = float(self.economy.keep_cost[self.view.anatomy.number[idle.service]])
        return self._release(
            idle.service,
            1,
            value=keep_cost,
            cost=idle.value,
            tier=idle.tier,
            reason=(
                f"{why}: of what is idle this is worth least, {idle.value:.3g} for {keep_cost:.3g}"
            ),
        )

    def _patience(self, queued: Queued) -> float:
        """How much more a want counts that has waited too long; 1 before that."""
        waited = (self.view.now_ms - queued.since_ms) / self.config.starve_ms
        return 1 + waited if waited >= 1 else 1.0

    def _start(self, choice: Choice) -> Iterator[Command]:
        want, tier = choice.want, choice.want.tier
        long = " which has waited too long" if want.patience > 1 else ""
        long = " which is pinned" if want.pinned else long
        claim = want.value if want.pinned else want.claim
        for victim in choice.taken:
            yield self._release(
                victim.service,
                1,
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
            self._starting[command.command_id] = Starting(name, 1, command.expires_ms)
            if want.patience > 1:
                self._held[name] = self.view.now_ms + self.config.hold_ms
            yield command

    def _queued(self, choices: list[Choice]) -> Iterator[Command]:
        """Queue what does not fit, once; whatever fits now or is wanted no more leaves."""
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
                self._waiting[name] = Queued(command.command_id, since_ms, command.expires_ms)
                yield command

    def _queue(self, choice: Choice, name: str, k: int) -> Command:
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
        """Give back what has not been worth it for some time."""
        economy = self.economy
        before = self._before.below
        least = 1 - self.variant.slack
        for part in economy.doubtful(least):
            name = economy.anatomy.constituents[part].service
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
                    value=cost * len(lost),
                    cost=sum(lost),
                    reason=(
                        f"{len(lost)} idle of {economy.have[part]}: worth at most"
                        f" {max(lost):.3g} each in the next {self.horizon_ms / 1000:.0f} s,"
                        f" kept for {cost:.3g}"
                    ),
                )

    def _release(self, name: str, count: int, **terms: Any) -> Command:
        command = self._command(Action.RELEASE, name, count=count, **terms)
        of = self.view.serving.get(name, ())
        self._releasing[command.command_id] = Releasing(name, count, command.expires_ms, of)
        return command

    def _shared(self, want: Want, name: str) -> tuple[float, float]:
        """A part's share in value and cost of what is wanted together."""
        cost = float(self.economy.start_cost[self.economy.anatomy.number[name]])
        share = cost / want.cost if want.cost > 0 else 1 / len(want.parts)
        return want.value * share, want.cost * share

    def _why(self, want: Want, name: str, k: int, tier: str) -> str:
        economy = self.economy
        part = economy.anatomy.number[name]
        chance = economy.chance(part, k)
        warm_up_ms = float(self.view.timing.warm_up_ms[part])
        others = ", ".join(other for other, _ in want.parts if other != name)
        return (
            f"instance {k} is used within {self.horizon_ms / 1000:.0f} s with probability"
            f" {chance:.3g} and starts in {warm_up_ms / 1000:.3g} s"
            + (f"; together with {others}" if others else "")
            + f", mostly for tier {tier!r}: worth {want.value:.3g}, costs {want.cost:.3g}"
            + (f"; an operator wants at least {economy.least[part]}" if want.pinned else "")
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


def _names(want: Want) -> str:
    return " and ".join(name for name, _ in want.parts)
