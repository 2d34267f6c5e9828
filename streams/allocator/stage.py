"""Decides what to keep warm: what pays for itself, within the pool's capacity and budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import replace

from streams.allocator.calibration import Pair
from streams.allocator.decision import Config, Decision, Plan
from streams.allocator.state import PoolRow
from streams.allocator.state_bytes import Row, decode, encode
from streams.allocator.trial import Scene, TrialRow, begun, rivals
from streams.allocator.valuation.catalog_index import Anatomy
from streams.allocator.view import PoolObservation, PoolView, without_done
from streams.records import Demand, Record, Utilisation
from streams.records.catalog import Catalog
from streams.records.control import STANDARD, Control, Mode
from streams.stages.base import Context

__all__ = ["Allocator", "Config", "advance", "decide"]

State = MutableMapping[str, Row]


class Allocator:
    """Stage "allocator": per pool, the latest demand of each partition becomes commands.

    State: `p/<pool>` what is under way, `d/<partition>/<pool>` the demand last heard,
    `t/<pool>` the trial of a challenger while there is one. A pool that the catalogue does not have is left alone.
    """

    name = "allocator"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self._anatomy = Anatomy(Catalog())

    def step(self, event: Record, state: State, context: Context) -> Iterable[Record]:
        """Take demand, utilisation or an operator's word in; decide when a round is complete.

        It is when every partition with live demand has been heard since the last decision, one
        of them twice, or two ticks have gone by: so a pool is decided upon once a tick, however
        many partitions there are, and at once after a silence.
        """
        assert isinstance(event, Demand | Utilisation | Control)
        known = event.pool in context.catalog.pools
        if not known and not isinstance(event, Control):
            return ()
        row, due = _pool(event.pool, state), False
        match event:
            case Demand():
                row, due = self._hear(event, row, state)
            case Control():
                row, due = replace(row, control=event), known and row.now_ms > 0
            case Utilisation():
                row = replace(row, utilisation=event)
        if due:
            return self._decide(event.pool, row, state, context)
        state[_pool_key(event.pool)] = row
        return ()

    def tick(self, now_ms: int, state: State, context: Context) -> Iterable[Record]:
        """Decide for each pool of the catalogue that was heard of, but not of late."""
        made: list[Record] = []
        for pool in sorted(context.catalog.pools):
            row = state.get(_pool_key(pool))
            if isinstance(row, PoolRow) and now_ms - row.decided_ms >= self.config.tick_ms:
                row = replace(row, now_ms=max(row.now_ms, now_ms))
                made += self._decide(pool, row, state, context)
        return made

    def encode(self, value: Row) -> bytes:
        """The bytes of a row; see `pool_rows`."""
        return encode(value)

    def decode(self, data: bytes) -> Row:
        """The row of these bytes."""
        return decode(data)

    def _hear(self, demand: Demand, row: PoolRow, state: State) -> tuple[PoolRow, bool]:
        """Take demand in: the row with it, and whether it completes a round."""
        due = demand.partition in row.heard
        due |= demand.at_ms - row.decided_ms >= 2 * self.config.tick_ms
        key = _demand_key(demand.pool, demand.partition)
        before = state.get(key)
        row = replace(
            row,
            heard=row.heard | {demand.partition},
            partitions=tuple(sorted({*row.partitions, demand.partition})),
            now_ms=max(row.now_ms, demand.at_ms),
            watch=row.watch.hear(before if isinstance(before, Demand) else None, demand),
        )
        state[key] = demand
        live = {n for n, d in _demands(demand.pool, row, state).items() if d.services}
        return row, due or row.heard >= live

    def _known(self, context: Context) -> Anatomy:
        """The catalogue as arrays, made anew when it is another one."""
        if self._anatomy.catalog is not context.catalog:
            self._anatomy = Anatomy(context.catalog)
        return self._anatomy

    def _decide(self, pool: str, row: PoolRow, state: State, context: Context) -> list[Record]:
        demands = list(_demands(pool, row, state).values())
        seen = PoolObservation.of(
            pool,
            demands,
            context.instances.values(),
            self._known(context),
            serve_ms=self.config.serve_ms,
        )
        row, arrived = advance(row, seen)
        view = PoolView.of(row, seen)
        row, plan = decide(row, view, self.config)
        state[_pool_key(pool)] = row
        scene = Scene(row, view, seen, arrived, context)
        return [*plan.commands, *plan.verdicts, *self._try(scene, state)]

    def _try(self, scene: Scene, state: State) -> list[Record]:
        """What comes of the trial of a challenger, when there is one."""
        pool, two = scene.view.pool.pool, rivals(scene.row.control)
        key = _trial_key(pool)
        trial = state.get(key)
        if not two:
            state.pop(key, None)
            return []
        if isinstance(trial, TrialRow) and trial.variants == two:
            state[key], made = trial.decide(scene, self.config)
            return made
        state[key] = trial = begun(two, scene)
        return [trial.told(pool, scene.view.now_ms)]


def advance(row: PoolRow, seen: PoolObservation) -> tuple[PoolRow, Mapping[Pair, int]]:
    """Let time come to that of a decision: the row, and the requests since the last decision.

    A time may be decided upon twice: requests count when time passes, and once.
    """
    watch, arrived = row.watch.advance(seen.asked, seen.anatomy, row.now_ms, seen.horizon_ms)
    row = replace(without_done(row, seen), heard=frozenset(), decided_ms=row.now_ms, watch=watch)
    return row, arrived


def decide(row: PoolRow, view: PoolView, config: Config) -> tuple[PoolRow, Plan]:
    """Decide on a pool as its operator has it: what is remembered of it then, and what to do."""
    control = row.control
    mode, paused = (control.mode, control.paused) if control else (Mode.ON, False)
    if paused or mode is Mode.ADVISE:
        return replace(row, queue={}, below={}), Plan()
    variant = control.champion if control else STANDARD
    after, plan = Decision(config, row, view, variant).take(mode)
    if mode is not Mode.SHADOW:
        return after, plan
    # In the shadow nothing is under way: of what is decided only what was said is remembered.
    kept = replace(row, said=after.said, serial=after.serial, watch=after.watch)
    return kept, Plan(verdicts=plan.verdicts)


def _demands(pool: str, row: PoolRow, state: State) -> dict[int, Demand]:
    """The demand of each partition; what has expired keeps only its measurements."""
    rows = {n: state.get(_demand_key(pool, n)) for n in row.partitions}
    return {
        n: d if d.expires_ms > row.now_ms else replace(d, services=())
        for n, d in rows.items()
        if isinstance(d, Demand)
    }


def _pool(pool: str, state: State) -> PoolRow:
    row = state.get(_pool_key(pool))
    return row if isinstance(row, PoolRow) else PoolRow()


def _pool_key(pool: str) -> str:
    return f"p/{pool}"


def _trial_key(pool: str) -> str:
    return f"t/{pool}"


def _demand_key(pool: str, partition: int) -> str:
    return f"d/{partition}/{pool}"
