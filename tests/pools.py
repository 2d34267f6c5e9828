"""A pool for tests: an allocator whose commands a planned provisioner carries out at once."""

from __future__ import annotations

from dataclasses import replace

from streams.allocator.stage import AllocatorConfig, AllocatorStage
from streams.allocator.state_bytes import AllocatorRow
from streams.records import (
    Action,
    Command,
    Demand,
    Instance,
    InstanceState,
    Record,
    ServiceDemand,
)
from streams.records.catalog import Catalog, CatalogEntry, Constituent, Pool, Resources, Tier
from streams.records.trials import Trial
from streams.records.verdicts import Verdict
from streams.stages.base import StepContext
from streams.stages.planned_pool import PlannedPool
from streams.stages.planned_provisioner import PlannedProvisioner

__all__ = ["TIERS", "World", "actions", "command", "constituent", "demand", "pool", "warm"]

TIERS = (
    Tier(tier="gold", weight=0.1, sla_ms=500, priority=1),
    Tier(tier="bronze", weight=0.01, sla_ms=5_000),
)


def constituent(name: str, cpu: float = 1.0, warm_up_ms: int = 10_000) -> Constituent:
    needs = Resources(cpu=cpu, memory=cpu, bandwidth=cpu)
    return Constituent(service=name, needs=needs, warm_up_ms=warm_up_ms, price=1.0)


def pool(cpu: float = 10.0, budget: float = float("inf")) -> Pool:
    return Pool(pool="p", capacity=Resources(cpu=cpu, memory=cpu, bandwidth=cpu), budget=budget)


def demand(at_ms: int, *asked: tuple[str, str, float], partition: int = 0) -> Demand:
    """Demand of users who ask again and again at a steady rate: its number is Poisson."""
    return Demand(
        pool="p",
        partition=partition,
        at_ms=at_ms,
        horizon_ms=60_000,
        services=tuple(ServiceDemand(service=s, tier=t, expected=e) for s, t, e in asked),
        expires_ms=at_ms + 30_000,
    )


def warm(service: str, instance_id: str, command_id: str, *, busy: bool = False) -> Instance:
    return Instance(
        instance_id=instance_id,
        service=service,
        pool="p",
        state=InstanceState.BUSY if busy else InstanceState.WARM,
        endpoint="",
        command_id=command_id,
        started_ms=0,
        changed_ms=0,
        warm_since_ms=0,
    )


def command(
    name: str, action: Action = Action.PROVISION, service: str = "base", **changes: int
) -> Command:
    made = Command(
        command_id=name,
        pool="p",
        action=action,
        service=service,
        count=1,
        value=2.0,
        cost=1.0,
        priority=0.0,
        issued_ms=1_000,
        expires_ms=11_000,
        reason="",
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # only whole numbers are changed


class World:
    """An allocator and a planned provisioner that carries its commands out at once."""

    def __init__(self, *entries: CatalogEntry, obeys: bool = True) -> None:
        self.catalog = Catalog.of([*TIERS, *entries])
        self.instances: dict[str, Instance] = {}
        self.allocator = AllocatorStage(AllocatorConfig())
        self.state: dict[str, AllocatorRow] = {}
        self.verdicts: list[Verdict] = []
        self.trials: list[Trial] = []
        self.obeys = obeys
        self._plan: dict[str, PlannedPool] = {}

    def hear(self, event: Record) -> list[Command]:
        context = self._context()
        return self._took(list(self.allocator.step(event, self.state, context)), context)

    def pass_time(self, now_ms: int) -> list[Command]:
        context = self._context()
        return self._took(list(self.allocator.tick(now_ms, self.state, context)), context)

    def _context(self) -> StepContext:
        return StepContext(catalog=self.catalog, instances=dict(self.instances))

    def _took(self, made: list[Record], context: StepContext) -> list[Command]:
        self.verdicts += [v for v in made if isinstance(v, Verdict)]
        self.trials += [t for t in made if isinstance(t, Trial)]
        return [c for c in made if isinstance(c, Command) and self._carry_out(c, context)]

    def _carry_out(self, command: Command, context: StepContext) -> bool:
        if self.obeys:
            for record in PlannedProvisioner().step(command, self._plan, context):
                if isinstance(record, Instance):
                    self.instances[record.instance_id] = record
                else:
                    assert list(self.allocator.step(record, self.state, context)) == []
        return True

    def live(self) -> dict[str, int]:
        names = [i.service for i in self.instances.values() if i.state is not InstanceState.GONE]
        return {name: names.count(name) for name in sorted(set(names))}


def actions(commands: list[Command]) -> list[tuple[Action, str]]:
    return [(c.action, c.service) for c in commands]
