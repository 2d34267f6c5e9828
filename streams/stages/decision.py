"""One decision for a pool: what to start, what to take, what to queue and what to release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from streams.catalog import Constituent, Tier
from streams.records import Action, Command
from streams.stages.levels import Level, levels_of
from streams.stages.packing import Choice, Idle, Want, pack
from streams.stages.pool_rows import PoolRow, Queued, Releasing, Starting
from streams.stages.pool_view import PoolView

__all__ = ["Config", "Decision"]

HOUR_MS = 3_600_000
FALLBACK = Tier(tier="", weight=0.01, sla_ms=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Parameters of the allocator."""

    horizon_ms: int = 60_000  # when no demand names one
    command_ms: int = 10_000  # life of a command, and how long it counts as under way
    queue_ms: int = 60_000  # life of a queued want
    settle_ms: int = 5_000  # an idle instance is released when not worth it for so long
    slack: float = 0.2  # its value may fall below its cost by this part
    serve_ms: float = 1_000.0  # time to serve a request, until measured
    most: int = 64  # instances of a constituent
    starve_ms: int = 120_000  # after so long in the queue a want comes first
    fallback: Tier = FALLBACK  # of users whose tier is unknown


@dataclass(frozen=True, slots=True)
class Service:
    """A constituent in a decision, with the economics of its next and its last instance."""

    constituent: Constituent
    levels: list[Level]
    have: int  # instances there or under way
    idle: int  # of them, those that may be released
    horizon_ms: int
    ready_ms: float

    @property
    def keep_cost(self) -> float:
        """Of one instance kept for the horizon."""
        return self.constituent.price * self.horizon_ms / HOUR_MS

    @property
    def start_cost(self) -> float:
        """Of one instance started now and kept for the horizon."""
        return self.constituent.price * (self.horizon_ms + self.ready_ms) / HOUR_MS

    @property
    def lead(self) -> float:
        """Part of the saving that a start made now still brings.

        Requests come evenly over the horizon; one that comes while the instance starts is
        spared only the part of the start that has passed.
        """
        if self.ready_ms <= self.horizon_ms:
            return 1 - self.ready_ms / (2 * self.horizon_ms)
        return self.horizon_ms / (2 * self.ready_ms)

    def kept(self, k: int) -> float:
        """What the k-th instance is worth when it is warm already."""
        return self.levels[k - 1].value if k <= len(self.levels) else 0.0

    def priority(self, k: int) -> int:
        """Of the tier that the k-th instance is for; below all when nobody needs it."""
        return self.levels[k - 1].tier.priority if k <= len(self.levels) else -(2**31)

    def worthless(self, slack: float) -> int:
        """Idle instances whose expected value has fallen below their cost."""
        limit = self.keep_cost * (1 - slack)
        count = 0
        while count < self.idle and self.kept(self.have - count) < limit:
            count += 1
        return count


class Decision:
    """Takes the decision; the row keeps what is under way."""

    def __init__(self, config: Config, row: PoolRow, view: PoolView) -> None:
        self.config = config
        self.row = row
        self.view = view
        self.horizon_ms = view.horizon_ms or config.horizon_ms
        names = (view.uses.keys() | view.have.keys()) & view.catalog.constituents.keys()
        self.services = {name: self._service(name) for name in sorted(names)}

    def commands(self) -> list[Command]:
        """All commands, releases first."""
        released = list(self._releases())
        gone = Counter({c.service: c.count for c in released})
        wants = [want for name in self.services for want in self._wants(name)]
        idle = [i for name in self.services for i in self._idle(name, gone[name])]
        choices = pack(wants, self.view.room, idle)
        started = [c for choice in choices if _granted(choice) for c in self._start(choice)]
        refused = [choice for choice in choices if not _granted(choice)]
        return [*released, *started, *self._queued(refused)]

    def _service(self, name: str) -> Service:
        view, constituent = self.view, self.view.catalog.constituents[name]
        tiers = view.catalog.tiers
        levels = levels_of(
            ((tiers.get(t, self.config.fallback), u) for t, u in view.uses.get(name, {}).items()),
            overlap=min(1.0, view.timing[name].serve_ms / self.horizon_ms),
            at_once=max(1, constituent.concurrency),
            most=self.config.most,
        )
        have, idle = view.have.get(name, 0), view.idle.get(name, 0)
        ready_ms = view.timing[name].ready_ms
        return Service(constituent, levels, have, min(idle, have), self.horizon_ms, ready_ms)

    def _wants(self, name: str) -> Iterator[Want]:
        service = self.services[name]
        queued = self.row.queue.get(name)
        waited = queued is not None and queued.since_ms + self.config.starve_ms <= self.view.now_ms
        for level in service.levels[service.have :]:
            value = level.value * service.lead
            if value <= service.start_cost:
                return
            yield Want(
                service=name,
                k=level.k,
                needs=service.constituent.needs,
                price=service.constituent.price,
                value=value,
                cost=service.start_cost,
                priority=level.tier.priority,
                share=service.constituent.needs.dominant_share(self.view.capacity),
                waited=waited,
            )

    def _idle(self, name: str, gone: int) -> Iterator[Idle]:
        service = self.services[name]
        for k in range(service.have - gone, service.have - service.idle, -1):
            yield Idle(
                service=name,
                needs=service.constituent.needs,
                price=service.constituent.price,
                value=service.kept(k),
                priority=service.priority(k),
            )

    def _releases(self) -> Iterator[Command]:
        before, self.row.below = self.row.below, {}
        for name, service in self.services.items():
            count = service.worthless(self.config.slack)
            if not count:
                continue
            since_ms = self.row.below[name] = before.get(name, self.view.now_ms)
            if self.view.now_ms - since_ms < self.config.settle_ms:
                continue
            values = [service.kept(service.have - n) for n in range(count)]
            yield self._release(
                name,
                count,
                value=service.keep_cost * count,
                cost=sum(values),
                reason=(
                    f"{count} idle of {service.have}: worth at most {max(values):.3g} each in the"
                    f" next {self.horizon_ms / 1000:.0f} s, kept for {service.keep_cost:.3g}"
                ),
            )

    def _release(self, name: str, count: int, **terms: Any) -> Command:
        command = self._command(Action.RELEASE, name, count=count, **terms)
        of = self.view.serving.get(name, ())
        self.row.releasing[command.command_id] = Releasing(name, count, command.expires_ms, of)
        return command

    def _start(self, choice: Choice) -> Iterator[Command]:
        want, level = choice.want, self._level(choice.want)
        for victim in choice.taken:
            yield self._release(
                victim.service,
                1,
                value=want.value - want.cost,
                cost=victim.value,
                tier=level.tier.tier,
                reason=(
                    f"{choice.bound} is short: {want.service} for tier {level.tier.tier!r} nets"
                    f" {want.value - want.cost:.3g}, this idle instance {victim.value:.3g}"
                ),
            )
        queued = self.row.queue.get(want.service)
        since = f"; queued as {queued.command_id}" if queued else ""
        command = self._command(
            Action.PROVISION,
            want.service,
            value=want.value,
            cost=want.cost,
            tier=level.tier.tier,
            reason=self._why(want, level) + since,
        )
        start = Starting(want.service, 1, command.expires_ms)
        self.row.starting[command.command_id] = start
        yield command

    def _queued(self, refused: list[Choice]) -> Iterator[Command]:
        """Queue what does not fit, once; whatever fits now or is wanted no more leaves."""
        before, self.row.queue = self.row.queue, {}
        counts = Counter(choice.want.service for choice in refused)
        for choice in refused:
            name, known = choice.want.service, before.get(choice.want.service)
            if name in self.row.queue:
                continue
            if known and known.expires_ms > self.view.now_ms:
                self.row.queue[name] = known
                continue
            command = self._queue(choice, counts[name])
            since_ms = known.since_ms if known else self.view.now_ms
            self.row.queue[name] = Queued(command.command_id, since_ms, command.expires_ms)
            yield command

    def _queue(self, choice: Choice, count: int) -> Command:
        want, level = choice.want, self._level(choice.want)
        return self._command(
            Action.QUEUE,
            want.service,
            count=count,
            value=want.value,
            cost=want.cost,
            tier=level.tier.tier,
            priority=want.priority + want.density / (1 + want.density),
            life_ms=self.config.queue_ms,
            reason=f"no {choice.bound} left for it; {self._why(want, level)}",
        )

    def _level(self, want: Want) -> Level:
        return self.services[want.service].levels[want.k - 1]

    def _why(self, want: Want, level: Level) -> str:
        service = self.services[want.service]
        return (
            f"instance {level.k} is used within {self.horizon_ms / 1000:.0f} s with probability"
            f" {level.chance:.3g} and saves {level.saved_ms * service.lead / 1000:.3g} s, mostly"
            f" for tier {level.tier.tier!r}: worth {want.value:.3g}, costs {want.cost:.3g}"
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
        self.row.serial += 1
        now_ms = self.view.now_ms
        return Command(
            command_id=f"{self.view.pool.pool}/{name}/{now_ms}/{self.row.serial}",
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


def _granted(choice: Choice) -> bool:
    return not choice.bound or bool(choice.taken)
