"""The allocator stage: turns demand into commands, within a pool's capacity and budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping

from streams.allocator.calibration import DemandCalibration, Pair, added, arrivals
from streams.allocator.config import AllocatorConfig
from streams.allocator.decision import PoolDecision, PoolPlan
from streams.allocator.figures import FiguresByPool
from streams.allocator.input_arrays import InputArrays
from streams.allocator.next_decision import next_decision_ms
from streams.allocator.own_pasts import OwnPasts, PoolPasts, owner_of
from streams.allocator.state import PoolState
from streams.allocator.state_bytes import AllocatorRow, decode, encode
from streams.allocator.trial import TrialScene, TrialState, begun, rivals
from streams.allocator.view import PoolObservation, PoolView, without_done
from streams.records import Demand, Record, Utilisation
from streams.records.control import Control, Mode, Variant
from streams.stages.admission import admit_control, admit_demand, admit_utilisation
from streams.stages.base import AHEAD_MS, StepContext

__all__ = ["AllocatorConfig", "AllocatorStage", "advance", "decide"]

POOL = "p/"  # prefix of the keys of pools
State = MutableMapping[str, AllocatorRow]


class AllocatorStage:
    """Stage "allocator": decides per pool on the latest demand of every partition.

    Rows of the state: `p/<pool>` is the `PoolState`, `d/<partition>/<pool>` the latest demand,
    `t/<pool>` the `TrialState` while a challenger is tried, `k/…` the past of a constituent and
    `l/…` what those of a pool have in common, see `own_pasts`. All of them are immutable. Pools
    that are not in the catalogue are ignored.
    """

    name = "allocator"

    def __init__(self, config: AllocatorConfig | None = None) -> None:
        self.config = config or AllocatorConfig()
        self._arrays = InputArrays()
        self._pasts = OwnPasts(self.config.tick_ms)
        self.figures = FiguresByPool()  # for who watches

    def step(self, event: Record, state: State, context: StepContext) -> Iterable[Record]:
        """Take in demand, utilisation or an operator override; decide when a round is complete.

        A round is complete when every partition with unexpired demand has reported since the
        last decision, when one has reported twice, or when two ticks have passed. So there is one
        decision per tick, however many partitions there are, and one at once after a silence.
        """
        assert isinstance(event, Demand | Utilisation | Control)
        event = _admitted(event, context)
        known = event.pool in context.catalog.pools
        if not known and not isinstance(event, Control):
            return ()
        row, due = _pool(event.pool, state), False
        match event:
            case Demand():
                row, due = self._hear(event, row, state, context)
            case Control():
                row, due = row._replace(control=event), known and row.now_ms > 0
            case Utilisation():
                row = row._replace(utilisation=event)
        if due:
            return self._decide(event.pool, row, state, context)
        state[_pool_key(event.pool)] = row
        return ()

    def tick(self, now_ms: int, state: State, context: StepContext) -> Iterable[Record]:
        """Decide for each known pool whose last decision is at least one tick old."""
        self.figures.keep(context.catalog.pools)
        pools = self.parts(context)
        return [made for pool in pools for made in self.tick_part(pool, now_ms, state, context)]

    def parts(self, context: StepContext) -> Iterable[str]:
        """The pools: each is decided on by itself."""
        return sorted(context.catalog.pools)

    def tick_part(
        self, part: str, now_ms: int, state: State, context: StepContext
    ) -> Iterable[Record]:
        """Decide for one pool."""
        row = state.get(_pool_key(part))
        if not isinstance(row, PoolState):
            return ()
        if row.now_ms > now_ms + AHEAD_MS:
            self._forget(part, state)
            row = _set_back(part, row, state)
        if now_ms - row.decided_ms < self.config.tick_ms:
            return ()
        row = row._replace(now_ms=max(row.now_ms, now_ms))
        return self._decide(part, row, state, context)

    def due(self, state: State) -> int | None:
        """When the first pool is to be decided on again though nothing comes."""
        pools = self._arrays.index.catalog.pools  # none before the first step
        keys = map(_pool_key, pools) if pools else [key for key in state if key.startswith(POOL)]
        rows = map(state.get, keys)
        ready = [
            max(row.next_ms, row.decided_ms + self.config.tick_ms)
            for row in rows
            if isinstance(row, PoolState) and row.next_ms
        ]
        return min(ready, default=None)

    def encode(self, value: AllocatorRow) -> bytes:
        """The bytes of a row; see `state`."""
        return encode(value)

    def decode(self, data: bytes) -> AllocatorRow:
        """The row of these bytes."""
        return decode(data)

    def _hear(
        self, demand: Demand, row: PoolState, state: State, context: StepContext
    ) -> tuple[PoolState, bool]:
        """Take in demand; returns the new row and whether the round is complete."""
        due = demand.partition in row.heard
        due |= demand.at_ms - row.decided_ms >= 2 * self.config.tick_ms
        self._arrays.use(context.catalog)
        key = _demand_key(demand.pool, demand.partition)
        before = state.get(key)
        seen = self._arrays.demand(before).seen if isinstance(before, Demand) else None
        state[key] = demand
        more = arrivals(seen, self._arrays.demand(demand).seen)
        row = row._replace(
            heard=row.heard | {demand.partition},
            partitions=tuple(sorted({*row.partitions, demand.partition})),
            now_ms=max(row.now_ms, demand.at_ms),
            calibration=row.calibration.hear(more),
            unlearnt=added(row.unlearnt, more),
        )
        live = {d.partition for d in _demands(demand.pool, row, state) if _counts(d, row.now_ms)}
        return row, due or row.heard >= live

    def _decide(
        self, pool: str, row: PoolState, state: State, context: StepContext
    ) -> list[Record]:
        index = self._arrays.use(context.catalog)
        seen = PoolObservation.of(
            pool,
            list(map(self._arrays.demand, _demands(pool, row, state))),
            self._arrays.instances(pool, context.instances),
            index,
            now_ms=row.now_ms,
            serve_ms=self.config.serve_ms,
        )
        row, arrived = advance(row, seen)
        view = PoolView.of(row, seen)
        pasts = self._pasts_of(owner_of(pool), view, state, row.champion)
        uses = row.unlearnt
        pasts.learn(uses)
        row, plan = decide(row, view, self.config, pasts)
        # Where nothing is decided, nobody asks for the advice that might change.
        advice_ms = pasts.next_ms if _decides(row) else 0
        next_ms = next_decision_ms(row, self.config, row.next_ms, advice_ms)
        state[_pool_key(pool)] = row = row._replace(next_ms=next_ms, unlearnt={})
        self.figures[pool].take(row, seen, view, arrived, partition=context.partition)
        scene = TrialScene(row, view, seen, arrived, uses, context)
        return [*plan.commands, *plan.verdicts, *self._try(scene, state)]

    def _pasts_of(self, owner: str, view: PoolView, state: State, variant: Variant) -> PoolPasts:
        return self._pasts.of(
            owner, state, view.index, view.timing, now_ms=view.now_ms, price=variant.price
        )

    def _forget(self, pool: str, state: State) -> None:
        """Forget the pasts of a pool and of its trial."""
        trial = state.get(_trial_key(pool))
        variants = trial.variants if isinstance(trial, TrialState) else ()
        for name in ("", *(variant.name for variant in variants)):
            self._pasts.end(owner_of(pool, name), state)

    def _try(self, scene: TrialScene, state: State) -> list[Record]:
        """Advance the trial if a challenger is configured; start or end it when that has changed."""
        pool, two = scene.view.pool.pool, rivals(scene.state.control)
        key = _trial_key(pool)
        owners = {variant.name: owner_of(pool, variant.name) for variant in two}
        trial = state.get(key)
        if isinstance(trial, TrialState) and trial.variants == two:
            pasts = {v.name: self._pasts_of(owners[v.name], scene.view, state, v) for v in two}
            state[key], made = trial.decide(scene, pasts, self.config)
            return made
        if isinstance(trial, TrialState):
            del state[key]
            for variant in trial.variants:
                self._pasts.end(owner_of(pool, variant.name), state)
        if not two:
            return []
        for owner in owners.values():
            self._pasts.begin(owner, owner_of(pool), state, scene.view.index)
        state[key] = trial = begun(two, scene)
        return [trial.told(pool, scene.view.now_ms)]


def _set_back(pool: str, row: PoolState, state: State) -> PoolState:
    """The state of a pool whose clock was ahead, without all that was to last until some time.

    A clock may have been wrong, or demand of an earlier release that believed every time. Nothing
    would be decided before that time came, and what it is to last for would never end.
    """
    for partition in row.partitions:
        state.pop(_demand_key(pool, partition), None)
    state.pop(_trial_key(pool), None)
    return PoolState(
        serial=row.serial,
        control=row.control,
        said=row.said,
        calibration=DemandCalibration(series=row.calibration.series),
    )


def advance(row: PoolState, seen: PoolObservation) -> tuple[PoolState, Mapping[Pair, int]]:
    """Bring the state of a pool up to the time of a decision.

    Returns
    -------
    The new state, without finished commands and with its calibration updated; and the requests
    that arrived since the last decision. A second decision at the same time gets none of them, so
    each request counts once.
    """
    calibration, arrived = row.calibration.advance(
        seen.asked, seen.index, row.now_ms, seen.horizon_ms
    )
    row = without_done(row, seen)._replace(
        heard=frozenset(),
        decided_ms=row.now_ms,
        calibration=calibration,
        next_ms=seen.instances.next_ms(row.now_ms),
    )
    return row, arrived


def decide(
    row: PoolState, view: PoolView, config: AllocatorConfig, pasts: PoolPasts
) -> tuple[PoolState, PoolPlan]:
    """Decide on a pool, in the mode that its operator has set.

    Returns
    -------
    The state after the decision, and the plan; only `pasts` are changed.
    """
    mode = row.control.mode if row.control else Mode.ON
    if not _decides(row):
        return row._replace(queue={}, below={}), PoolPlan()
    after, plan = PoolDecision(config, row, view, row.champion, pasts).take(mode)
    if mode is not Mode.SHADOW:
        return after, plan
    # In shadow mode no command is issued, so nothing that depends on one is kept.
    kept = row._replace(said=after.said, serial=after.serial, calibration=after.calibration)
    return kept, PoolPlan(verdicts=plan.verdicts)


def _decides(row: PoolState) -> bool:
    return row.control is None or row.control.decides


def _admitted(
    event: Demand | Utilisation | Control, context: StepContext
) -> Demand | Utilisation | Control:
    match event:
        case Demand():
            return admit_demand(event, context)
        case Control():
            admit_control(event)
        case Utilisation():
            admit_utilisation(event, context)
    return event


def _counts(demand: Demand, now_ms: int) -> bool:
    """Whether decisions wait for the partition of this demand."""
    return bool(demand.services) and demand.expires_ms > now_ms


def _demands(pool: str, row: PoolState, state: State) -> Iterator[Demand]:
    """The latest demand of every partition."""
    for partition in row.partitions:
        found = state.get(_demand_key(pool, partition))
        if isinstance(found, Demand):
            yield found


def _pool(pool: str, state: State) -> PoolState:
    row = state.get(_pool_key(pool))
    return row if isinstance(row, PoolState) else PoolState()


def _pool_key(pool: str) -> str:
    return f"{POOL}{pool}"


def _trial_key(pool: str) -> str:
    return f"t/{pool}"


def _demand_key(pool: str, partition: int) -> str:
    return f"d/{partition}/{pool}"
