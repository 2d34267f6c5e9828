"""Decides what to keep warm: what pays for itself, within the pool's capacity and budget."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import replace

from streams.catalog import Catalog
from streams.records import Command, Demand, Record, Utilisation
from streams.stages.anatomy import Anatomy
from streams.stages.base import Context
from streams.stages.decision import Config, Decision
from streams.stages.pool_rows import PoolRow, Row, decode, encode
from streams.stages.pool_view import PoolView

__all__ = ["Allocator", "Config"]

State = MutableMapping[str, Row]


class Allocator:
    """Stage "allocator": per pool, the latest demand of each partition becomes commands.

    State: `p/<pool>` what is under way, `d/<partition>/<pool>` the demand last heard.
    A pool that the catalogue does not have is left alone.
    """

    name = "allocator"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self._anatomy = Anatomy(Catalog())

    def step(self, event: Record, state: State, context: Context) -> Iterable[Record]:
        """Take demand or utilisation in; decide when a round of demand is complete.

        It is when every partition with live demand has been heard since the last decision, or
        one of them twice: so a pool is decided upon once a tick, however many partitions.
        """
        assert isinstance(event, Demand | Utilisation)
        if event.pool not in context.catalog.pools:
            return ()
        row = _pool(event.pool, state)
        if isinstance(event, Utilisation):
            row.utilisation = event
        else:
            again = event.partition in row.heard
            row.heard |= {event.partition}
            row.partitions = tuple(sorted({*row.partitions, event.partition}))
            row.now_ms = max(row.now_ms, event.at_ms)
            state[_demand_key(event.pool, event.partition)] = event
            demands = _demands(event.pool, row, state)
            if again or row.heard.issuperset(n for n, d in demands.items() if d.services):
                return self._decide(event.pool, row, state, context)
        state[_pool_key(event.pool)] = row
        return ()

    def tick(self, now_ms: int, state: State, context: Context) -> Iterable[Record]:
        """Decide for each pool of the catalogue that has sent demand, but not of late."""
        commands: list[Command] = []
        for pool in sorted(context.catalog.pools):
            row = state.get(_pool_key(pool))
            if isinstance(row, PoolRow) and now_ms - row.decided_ms >= self.config.tick_ms:
                row.now_ms = max(row.now_ms, now_ms)
                commands += self._decide(pool, row, state, context)
        return commands

    def encode(self, value: Row) -> bytes:
        """The bytes of a row; see `pool_rows`."""
        return encode(value)

    def decode(self, data: bytes) -> Row:
        """The row of these bytes."""
        return decode(data)

    def _known(self, context: Context) -> Anatomy:
        """The catalogue as arrays, made anew when it is another one."""
        if self._anatomy.catalog is not context.catalog:
            self._anatomy = Anatomy(context.catalog)
        return self._anatomy

    def _decide(self, pool: str, row: PoolRow, state: State, context: Context) -> list[Command]:
        row.heard, row.decided_ms = set(), row.now_ms
        demands = list(_demands(pool, row, state).values())
        anatomy = self._known(context)
        view = PoolView.of(
            pool, row, demands, context, serve_ms=self.config.serve_ms, anatomy=anatomy
        )
        commands = Decision(self.config, row, view).commands()
        state[_pool_key(pool)] = row
        return commands


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


def _demand_key(pool: str, partition: int) -> str:
    return f"d/{partition}/{pool}"
