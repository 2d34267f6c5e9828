"""Decides what to keep warm: what pays for itself, within the pool's capacity and budget."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from copy import deepcopy
from dataclasses import replace

from streams.allocator.decision import Config, Decision
from streams.allocator.state import PoolRow
from streams.allocator.state_bytes import Row, decode, encode
from streams.allocator.trial import Scene, TrialRow, begun, rivals
from streams.allocator.valuation.catalog_index import Anatomy
from streams.allocator.view import PoolView
from streams.records import Demand, Record, Utilisation
from streams.records.catalog import Catalog
from streams.records.control import STANDARD, Control, Mode
from streams.stages.base import Context

__all__ = ["Allocator", "Config"]

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
        row = _pool(event.pool, state)
        due = False
        match event:
            case Demand():
                due = self._hear(event, row, state)
            case Control():
                row.control, due = event, known and row.now_ms > 0
            case Utilisation():
                row.utilisation = event
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
                row.now_ms = max(row.now_ms, now_ms)
                made += self._decide(pool, row, state, context)
        return made

    def encode(self, value: Row) -> bytes:
        """The bytes of a row; see `pool_rows`."""
        return encode(value)

    def decode(self, data: bytes) -> Row:
        """The row of these bytes."""
        return decode(data)

    def _hear(self, demand: Demand, row: PoolRow, state: State) -> bool:
        """Take demand in; whether that completes a round."""
        due = demand.partition in row.heard
        due |= demand.at_ms - row.decided_ms >= 2 * self.config.tick_ms
        row.heard |= {demand.partition}
        row.partitions = tuple(sorted({*row.partitions, demand.partition}))
        row.now_ms = max(row.now_ms, demand.at_ms)
        key = _demand_key(demand.pool, demand.partition)
        before = state.get(key)
        row.watch.hear(before if isinstance(before, Demand) else None, demand)
        state[key] = demand
        live = {n for n, d in _demands(demand.pool, row, state).items() if d.services}
        return due or row.heard >= live

    def _known(self, context: Context) -> Anatomy:
        """The catalogue as arrays, made anew when it is another one."""
        if self._anatomy.catalog is not context.catalog:
            self._anatomy = Anatomy(context.catalog)
        return self._anatomy

    def _decide(self, pool: str, row: PoolRow, state: State, context: Context) -> list[Record]:
        row.heard, row.decided_ms = set(), row.now_ms
        came = row.watch.fresh
        demands = list(_demands(pool, row, state).values())
        anatomy = self._known(context)
        view = PoolView.of(
            pool, row, demands, context, serve_ms=self.config.serve_ms, anatomy=anatomy
        )
        # A time may be decided upon twice: requests count when time passes, and once.
        fresh = {} if row.watch.fresh is came else came
        made = self._judge(row, view)
        state[_pool_key(pool)] = row
        return [*made, *self._try(Scene(row, view, fresh, demands, context), state)]

    def _try(self, scene: Scene, state: State) -> list[Record]:
        """What comes of the trial of a challenger, when there is one."""
        pool, two = scene.view.pool.pool, rivals(scene.row.control)
        key = _trial_key(pool)
        trial = state.get(key)
        if not two:
            state.pop(key, None)
            return []
        if isinstance(trial, TrialRow) and trial.variants == two:
            made = list(trial.decide(scene, self.config))
        else:
            trial = begun(two, scene)
            made = [trial.told(pool, scene.view.now_ms)]
        state[key] = trial
        return made

    def _judge(self, row: PoolRow, view: PoolView) -> list[Record]:
        """What comes of a decision, as the operator has it."""
        mode, paused = (row.control.mode, row.control.paused) if row.control else (Mode.ON, False)
        variant = row.control.champion if row.control else STANDARD
        if paused or mode is Mode.ADVISE:
            row.queue, row.below = {}, {}
            return []
        shadow = mode is Mode.SHADOW
        # In the shadow nothing is under way: what is decided is not remembered.
        decision = Decision(self.config, deepcopy(row) if shadow else row, view, variant)
        commands = decision.commands()
        verdicts = decision.verdicts(mode, commands)
        learnt = decision.row
        row.said, row.serial, row.watch = learnt.said, learnt.serial, learnt.watch
        return list(verdicts) if shadow else [*commands, *verdicts]


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
