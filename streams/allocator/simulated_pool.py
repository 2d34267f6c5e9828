"""A simulated pool: which requests would have found warm instances, and at what cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from streams.allocator.calibration import Pair
from streams.allocator.valuation.catalog_index import FALLBACK
from streams.allocator.view import PoolView
from streams.catalog.critical_path import first_uses, start_ms, steps_of
from streams.records import Command, Instance
from streams.records.trials import Score
from streams.stages.base import StepContext
from streams.stages.planned_pool import PlannedInstance, PlannedPool, instances_of
from streams.stages.planned_provisioner import PlannedProvisioner, started_on_request

__all__ = ["SimulatedPool"]

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class SimulatedPool:
    """Simulated instances and their score; immutable.

    The baseline starts everything on request and keeps nothing warm. A request saves the part of
    the baseline's wait that it is spared; all warm time is paid for.
    """

    score: Score
    at_ms: int  # simulated up to this time
    planned: PlannedPool = field(default_factory=PlannedPool)

    @classmethod
    def of(cls, variant: str, instances: Iterable[Instance], at_ms: int) -> SimulatedPool:
        """A simulated pool that starts with these instances."""
        live = {
            i.instance_id: PlannedInstance(
                i.service,
                i.command_id,
                i.started_ms,
                at_ms if i.warm_since_ms is None else i.warm_since_ms,
            )
            for i in instances
        }
        return cls(Score(variant=variant), at_ms, PlannedPool(at_ms, live))

    def instances(self, pool: str) -> list[Instance]:
        """The simulated instances as records."""
        return list(instances_of(pool, self.planned))

    def carry_out(self, commands: Sequence[Command], context: StepContext) -> SimulatedPool:
        """Simulate these commands."""
        if not commands:
            return self
        planned, provisioner = _own(self.planned), PlannedProvisioner()
        for command in commands:
            pools = {command.pool: planned}
            for _ in provisioner.step(command, pools, context):
                pass
            planned = pools[command.pool]
        return replace(self, planned=planned)

    def advance(
        self, arrived: Mapping[Pair, int], view: PoolView, context: StepContext
    ) -> SimulatedPool:
        """Simulate up to the time of the view, and serve the requests that arrived until then.

        Parameters
        ----------
        arrived
            Requests since the last call, by composite and tier; higher tiers are served first.
            Constituents that they find cold are started after they have been served.
        """
        score, cold = self._serve(self._paid(view), arrived, view)
        known = {planned.service for planned in self.planned.live.values()}
        starts = [
            started_on_request(f"{name}/{view.now_ms}", view.pool.pool, name, view.now_ms, 1)
            for name in sorted(cold - known)
        ]
        return replace(self.carry_out(starts, context), score=score, at_ms=view.now_ms)

    def _paid(self, view: PoolView) -> Score:
        """The score with the warm time since the last call."""
        warm_ms, cost = 0, 0.0
        for planned in self.planned.live.values():
            lasted_ms = max(0, view.now_ms - max(planned.warm_since_ms, self.at_ms))
            part = view.index.number.get(planned.service)
            warm_ms += lasted_ms
            cost += lasted_ms / HOUR_MS * float(view.index.price[part]) if part is not None else 0.0
        score = self.score
        return replace(
            score,
            warm_ms=score.warm_ms + warm_ms,
            wasted_ms=score.wasted_ms + warm_ms,
            cost=score.cost + cost,
        )

    def _serve(
        self, score: Score, arrived: Mapping[Pair, int], view: PoolView
    ) -> tuple[Score, set[str]]:
        """Serve the requests; returns the new score and the constituents found cold."""
        tiers = [tier.tier for tier in view.index.tiers]
        order = {tier: i for i, tier in enumerate(tiers)}
        places, cold = self._places(view), set[str]()
        live = {planned.service for planned in self.planned.live.values()}
        for (service, tier), count in sorted(
            arrived.items(), key=lambda item: (order.get(item[0][1], len(order)), item[0])
        ):
            found = _ArrivedRequests(count, places, view, live)
            for step in first_uses(steps_of(view.index.catalog, service)):
                found.take([name for name in step if name in view.index.number])
            cold |= found.cold
            score = _counted(score, found, view.index.catalog.tiers.get(tier, FALLBACK).weight)
        return score, cold

    def _places(self, view: PoolView) -> dict[str, int]:
        """Requests that the warm instances of each constituent can serve in this interval."""
        index, elapsed_ms = view.index, max(1, view.now_ms - self.at_ms)
        places: dict[str, int] = {}
        for planned in self.planned.live.values():
            part = index.number.get(planned.service)
            if part is not None and planned.warm_since_ms <= self.at_ms:
                turns = max(1.0, elapsed_ms / max(1.0, float(view.timing.serve_ms[part])))
                more = int(turns * int(index.at_once[part]))
                places[planned.service] = places.get(planned.service, 0) + more
        return places


@dataclass(slots=True)
class _ArrivedRequests:
    """Requests of one composite and tier while they go through its steps."""

    count: int
    places: dict[str, int]  # free places per constituent; decreased as they are taken
    view: PoolView
    live: set[str]  # constituents with an instance: a start on such a base is shorter
    cold: set[str] = field(default_factory=set)
    cold_ms: int = 0
    worst_ms: int = 0  # if nothing had been warm
    serving_ms: int = 0

    def take(self, step: Sequence[str]) -> None:
        """Serve one step: each request waits for its slowest cold constituent."""
        number, timing = self.view.index.number, self.view.timing
        worst_ms = {name: self._start_ms(name, set()) for name in step}
        wait_ms = {name: self._start_ms(name, self.live) for name in step}
        warm = {name: min(self.count, self.places.get(name, 0)) for name in step}
        for first, last in pairwise(sorted({0, self.count, *warm.values()})):
            slowest = max((wait_ms[name] for name in step if warm[name] <= first), default=0)
            self.cold_ms += (last - first) * slowest
        self.worst_ms += self.count * max(worst_ms.values(), default=0)
        for name in step:
            self.serving_ms += round(warm[name] * float(timing.serve_ms[number[name]]))
            self.places[name] = self.places.get(name, 0) - warm[name]
            if warm[name] < self.count:
                self.cold.add(name)

    def _start_ms(self, name: str, live: set[str]) -> int:
        """Start-up time of a constituent, given those with an instance."""
        number, own_ms = self.view.index.number, self.view.timing.warm_up_ms
        catalog = self.view.index.catalog
        return round(start_ms(name, catalog, lambda part: float(own_ms[number[part]]), live))


def _own(pool: PlannedPool) -> PlannedPool:
    """A copy that the provisioner may change."""
    return replace(pool, live=dict(pool.live), done=dict(pool.done))


def _counted(score: Score, found: _ArrivedRequests, weight: float) -> Score:
    """The score with these requests added."""
    saved_ms = found.worst_ms - found.cold_ms
    return replace(
        score,
        requests=score.requests + found.count,
        cold_ms=score.cold_ms + found.cold_ms,
        saved_ms=score.saved_ms + saved_ms,
        wasted_ms=max(0, score.wasted_ms - found.serving_ms),
        worth=score.worth + weight * saved_ms / 1000,
    )
