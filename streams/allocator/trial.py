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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from streams.allocator.calibration import Pair, Watch
from streams.allocator.decision import Config, Decision
from streams.allocator.paper_pool import PaperPool
from streams.allocator.state import PoolRow
from streams.allocator.view import SERVING, PoolView, more_of, taken_by
from streams.records import Demand, InstanceState, Record
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
    fresh: Mapping[Pair, int]  # requests since the last decision
    demands: Sequence[Demand]
    context: Context


@dataclass(slots=True)
class Arm:
    """One of the two: how it decides, what is under way with it, and its instances on paper."""

    variant: Variant
    paper: PaperPool
    row: PoolRow

    def decide(self, scene: Scene, config: Config) -> list[Verdict]:
        """Take the requests in, decide, and carry it out on paper."""
        view, pool = scene.view, scene.view.pool.pool
        self.paper.pass_time(scene.fresh, view, scene.context)
        self._see(scene)
        instances = self.paper.instances(pool)
        own = PoolView.of(
            pool,
            self.row,
            scene.demands,
            scene.context._replace(instances=instances),
            serve_ms=config.serve_ms,
            anatomy=view.anatomy,
        )
        name = self.variant.name
        decision = Decision(
            config, self.row, replace(own, timing=view.timing), self.variant, label=f"{name}~"
        )
        commands = decision.commands()
        verdicts = decision.verdicts(Mode.SHADOW, commands)
        for command in commands:
            self.paper.carry_out(command, scene.context)
        # What is the pool's own is not kept twice.
        self.row.control, self.row.utilisation, self.row.watch = None, None, Watch()
        return [replace(verdict, challenger=name) for verdict in verdicts]

    def _see(self, scene: Scene) -> None:
        """Put into the row what is known of the pool: others use of it what they use for real."""
        real, own = scene.row, self.row
        own.now_ms, own.control, own.watch = real.now_ms, real.control, real.watch
        if real.utilisation:
            anatomy, pool = scene.view.anatomy, real.utilisation.pool
            alive = [
                i.service
                for i in scene.context.instances.values()
                if i.pool == pool and i.state is not InstanceState.GONE
            ]
            others = more_of(real.utilisation.used - taken_by(alive, anatomy), Resources())
            paper = [planned.service for planned in self.paper.planned.live.values()]
            own.utilisation = replace(real.utilisation, used=others + taken_by(paper, anatomy))


@dataclass(slots=True)
class TrialRow:
    """What is remembered of a trial; the champion first."""

    since_ms: int
    arms: tuple[Arm, ...]
    told_ms: int = 0

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The two that are compared."""
        return tuple(arm.variant for arm in self.arms)

    def decide(self, scene: Scene, config: Config) -> Iterator[Record]:
        """Have both decide: the challenger's verdicts, and now and then the scores."""
        _, *of_challengers = [arm.decide(scene, config) for arm in self.arms]
        for verdicts in of_challengers:
            yield from verdicts
        now_ms = scene.view.now_ms
        if now_ms - self.told_ms >= TELL_MS:
            self.told_ms = now_ms
            yield self.told(scene.view.pool.pool, now_ms)

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
    pool, now_ms = scene.view.pool.pool, scene.view.now_ms
    here = [i for i in scene.context.instances.values() if i.pool == pool and i.state in SERVING]
    arms = (Arm(v, PaperPool.of(v.name, here, now_ms), PoolRow()) for v in variants)
    return TrialRow(now_ms, tuple(arms))
