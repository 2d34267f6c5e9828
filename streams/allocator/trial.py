"""A champion and its challenger on paper, side by side: the same requests, the same room.

Both are simulated, the champion too: what it does for real is not comparable with what another
would have done, since requests that find nothing start instances that both then have. So each has
a pool on paper that begins with the instances of the pool; it is decided upon as the pool is, its
commands are carried out on paper, and a request that finds a part cold starts one on paper as the
standard path does. With the same parameters both come to the same score, to the last digit.

A request is judged when the demand tells of it, a second or two after it came, by what was warm
at the decision before: for both alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from streams.allocator.calibration import Pair, Watch
from streams.allocator.decision import Config, Decision
from streams.allocator.paper_pool import PaperPool
from streams.allocator.state import PoolRow
from streams.allocator.view import (
    SERVING,
    PoolObservation,
    PoolView,
    more_of,
    taken_by,
    without_done,
)
from streams.records import InstanceState, Record
from streams.records.catalog import Resources
from streams.records.control import Control, Mode, Variant
from streams.records.trials import Trial
from streams.records.verdicts import Verdict
from streams.stages.base import Context

__all__ = ["Arm", "Scene", "TrialRow", "begun", "rivals"]

TELL_MS = 2_000  # how often scores are told


@dataclass(frozen=True, slots=True)
class Scene:
    """What both see of a pool at a decision."""

    row: PoolRow  # of the pool itself, decided upon already
    view: PoolView
    seen: PoolObservation
    arrived: Mapping[Pair, int]  # requests since the last decision
    context: Context


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the two: how it decides, what is under way with it, and its instances on paper."""

    variant: Variant
    paper: PaperPool
    row: PoolRow

    def decide(self, scene: Scene, config: Config) -> tuple[Arm, list[Verdict]]:
        """Take the requests in, decide, and carry it out on paper: the arm then, and why."""
        view, name = scene.view, self.variant.name
        paper = self.paper.advance(scene.arrived, view, scene.context)
        seen = scene.seen.having(paper.instances(view.pool.pool))
        row = without_done(self._informed(scene, paper), seen)
        decision = Decision(config, row, PoolView.of(row, seen), self.variant, label=f"{name}~")
        row, plan = decision.take(Mode.SHADOW)
        # What is the pool's own is not kept twice.
        row = replace(row, control=None, utilisation=None, watch=Watch())
        arm = Arm(self.variant, paper.carry_out(plan.commands, scene.context), row)
        return arm, [replace(verdict, challenger=name) for verdict in plan.verdicts]

    def _informed(self, scene: Scene, paper: PaperPool) -> PoolRow:
        """The row with what is known of the pool: others use of it what they use for real."""
        real, used = scene.row, scene.row.utilisation
        if used:
            anatomy = scene.view.anatomy
            alive = [
                i.service
                for i in scene.context.instances.values()
                if i.pool == used.pool and i.state is not InstanceState.GONE
            ]
            others = more_of(used.used - taken_by(alive, anatomy), Resources())
            planned = [planned.service for planned in paper.planned.live.values()]
            used = replace(used, used=others + taken_by(planned, anatomy))
        return replace(
            self.row, now_ms=real.now_ms, control=real.control, watch=real.watch, utilisation=used
        )


@dataclass(frozen=True, slots=True)
class TrialRow:
    """What is remembered of a trial; the champion first."""

    since_ms: int
    arms: tuple[Arm, ...]
    told_ms: int = 0

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The two that are compared."""
        return tuple(arm.variant for arm in self.arms)

    def decide(self, scene: Scene, config: Config) -> tuple[TrialRow, list[Record]]:
        """Have both decide: the challenger's verdicts, and now and then the scores."""
        decided = [arm.decide(scene, config) for arm in self.arms]
        made: list[Record] = [verdict for _, verdicts in decided[1:] for verdict in verdicts]
        row, now_ms = replace(self, arms=tuple(arm for arm, _ in decided)), scene.view.now_ms
        if now_ms - self.told_ms >= TELL_MS:
            row = replace(row, told_ms=now_ms)
            made.append(row.told(scene.view.pool.pool, now_ms))
        return row, made

    def told(self, pool: str, now_ms: int) -> Trial:
        """The scores."""
        scores = tuple(arm.paper.score for arm in self.arms)
        return Trial(pool=pool, since_ms=self.since_ms, at_ms=now_ms, scores=scores)


def rivals(control: Control | None) -> tuple[Variant, ...]:
    """Champion and challenger, when there is one and the pool is decided upon."""
    if control is None or control.paused or control.mode not in {Mode.ON, Mode.SHADOW}:
        return ()
    return control.variants[:2] if len(control.variants) > 1 else ()


def begun(variants: Sequence[Variant], scene: Scene) -> TrialRow:
    """A trial of these that begins with the instances that there are."""
    now_ms = scene.view.now_ms
    here = [i for i in scene.seen.alive if i.state in SERVING]
    arms = (Arm(v, PaperPool.of(v.name, here, now_ms), PoolRow()) for v in variants)
    return TrialRow(now_ms, tuple(arms))
