"""Simulates a champion and its challenger side by side, on the same requests and capacity.

The champion is simulated too: what it really does is not comparable with a simulation, because
requests that find no instance start one, which both would then have. Each arm has a simulated
pool that starts with the instances of the real one. Decisions are taken as for the real pool,
their commands are simulated, and a request that finds a constituent cold starts an instance, as
the standard path does. With equal parameters both get exactly the same score.

A request is scored when demand reports it, a second or two after it came, against what was warm
at the previous decision; this holds for both arms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from streams.allocator.calibration import DemandCalibration, Pair
from streams.allocator.config import AllocatorConfig
from streams.allocator.decision import PoolDecision
from streams.allocator.instances import SERVING, PoolInstances, taken_by
from streams.allocator.own_pasts import PoolPasts
from streams.allocator.simulated_pool import SimulatedPool
from streams.allocator.state import PoolState
from streams.allocator.view import PoolObservation, PoolView, more_of, without_done
from streams.records import Record
from streams.records.catalog import Resources
from streams.records.control import Control, Mode, Variant
from streams.records.trials import Trial
from streams.records.verdicts import Verdict
from streams.stages.base import StepContext

__all__ = ["TrialArm", "TrialScene", "TrialState", "begun", "rivals"]

TELL_MS = 2_000  # how often scores are published


@dataclass(frozen=True, slots=True)
class TrialScene:
    """What both arms are given at a decision."""

    state: PoolState  # of the real pool, after its decision
    view: PoolView
    seen: PoolObservation
    arrived: Mapping[Pair, int]  # requests up to this time, not judged before
    uses: Mapping[Pair, int]  # requests since the last decision
    context: StepContext


@dataclass(frozen=True, slots=True)
class TrialArm:
    """One side of a trial: its parameters, its simulated instances and its state."""

    variant: Variant
    simulated: SimulatedPool
    state: PoolState

    def decide(
        self, scene: TrialScene, pasts: PoolPasts, config: AllocatorConfig
    ) -> tuple[TrialArm, list[Verdict]]:
        """Serve the requests, decide and simulate the commands; returns the new arm and verdicts."""
        view, name = scene.view, self.variant.name
        simulated = self.simulated.advance(scene.arrived, view, scene.context)
        seen = scene.seen.having(PoolInstances.of(simulated.instances(view.pool.pool), view.index))
        row = without_done(self._informed(scene, simulated), seen)
        pasts.learn(scene.uses)
        decision = PoolDecision(
            config, row, PoolView.of(row, seen), self.variant, pasts, label=f"{name}~"
        )
        row, plan = decision.take(Mode.SHADOW)
        # These are copies of the real pool's: they are not kept twice.
        row = row._replace(control=None, utilisation=None, calibration=DemandCalibration())
        arm = TrialArm(self.variant, simulated.carry_out(plan.commands, scene.context), row)
        return arm, [replace(verdict, challenger=name) for verdict in plan.verdicts]

    def _informed(self, scene: TrialScene, simulated: SimulatedPool) -> PoolState:
        """The state with what is known of the real pool; use by others is as reported."""
        real, used = scene.state, scene.state.utilisation
        if used:
            index = scene.view.index
            others = more_of(used.used - scene.seen.instances.taken, Resources())
            planned = Counter(planned.service for planned in simulated.planned.live.values())
            used = replace(used, used=others + taken_by(planned, index)[0])
        return self.state._replace(
            now_ms=real.now_ms,
            control=real.control,
            calibration=real.calibration,
            utilisation=used,
        )


@dataclass(frozen=True, slots=True)
class TrialState:
    """State of a trial; the champion is the first arm."""

    since_ms: int
    arms: tuple[TrialArm, ...]
    told_ms: int = 0

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The two variants that are compared."""
        return tuple(arm.variant for arm in self.arms)

    def decide(
        self, scene: TrialScene, pasts: Mapping[str, PoolPasts], config: AllocatorConfig
    ) -> tuple[TrialState, list[Record]]:
        """Have both arms decide; returns the new state, the challenger's verdicts and due scores.

        Parameters
        ----------
        pasts
            By variant, those of the constituents under its decisions.
        """
        decided = [arm.decide(scene, pasts[arm.variant.name], config) for arm in self.arms]
        made: list[Record] = [verdict for _, verdicts in decided[1:] for verdict in verdicts]
        row, now_ms = replace(self, arms=tuple(arm for arm, _ in decided)), scene.view.now_ms
        if now_ms - self.told_ms >= TELL_MS:
            row = replace(row, told_ms=now_ms)
            made.append(row.told(scene.view.pool.pool, now_ms))
        return row, made

    def told(self, pool: str, now_ms: int) -> Trial:
        """The record with the scores."""
        scores = tuple(arm.simulated.score for arm in self.arms)
        return Trial(pool=pool, since_ms=self.since_ms, at_ms=now_ms, scores=scores)


def rivals(control: Control | None) -> tuple[Variant, ...]:
    """Champion and challenger; empty without a challenger or while nothing is decided."""
    if control is None or control.paused or control.mode not in {Mode.ON, Mode.SHADOW}:
        return ()
    return control.variants[:2] if len(control.variants) > 1 else ()


def begun(variants: Sequence[Variant], scene: TrialScene) -> TrialState:
    """A new trial of these variants that starts with the current instances."""
    now_ms = scene.view.now_ms
    here = [i for i in scene.seen.instances.alive if i.state in SERVING]
    arms = (TrialArm(v, SimulatedPool.of(v.name, here, now_ms), PoolState()) for v in variants)
    return TrialState(now_ms, tuple(arms))
