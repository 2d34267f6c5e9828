"""Decides what to keep warm: what pays for itself, within the pool's capacity and budget."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import replace

from streams.records import Command, Demand, Record, Utilisation
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

    def step(self, event: Record, state: State, context: Context) -> Iterable[Record]:
        """Take demand or utilisation in; demand is decided upon at once."""
        assert isinstance(event, Demand | Utilisation)
        if event.pool not in context.catalog.pools:
            return ()
        if isinstance(event, Utilisation):
            row = _pool(event.pool, state)
            row.utilisation = event
            state[_pool_key(event.pool)] = row
            return ()
        row = _pool(event.pool, state)
        row.partitions = tuple(sorted({*row.partitions, event.partition}))
        state[_demand_key(event.pool, event.partition)] = event
        return self._decide(event.pool, row, event.at_ms, state, context)

    def tick(self, now_ms: int, state: State, context: Context) -> Iterable[Record]:
        """Decide for each pool of the catalogue that has sent demand."""
        commands: list[Command] = []
        for pool in sorted(context.catalog.pools):
            row = state.get(_pool_key(pool))
            if isinstance(row, PoolRow):
                commands += self._decide(pool, row, now_ms, state, context)
        return commands

    def encode(self, value: Row) -> bytes:
        """The bytes of a row; see `pool_rows`."""
        return encode(value)

    def decode(self, data: bytes) -> Row:
        """The row of these bytes."""
        return decode(data)

    def _decide(
        self, pool: str, row: PoolRow, at_ms: int, state: State, context: Context
    ) -> list[Command]:
        row.now_ms = max(row.now_ms, at_ms)
        demands = _live(pool, row, state)
        view = PoolView.of(pool, row, demands, context, self.config.serve_ms)
        commands = Decision(self.config, row, view).commands()
        state[_pool_key(pool)] = row
        return commands


def _live(pool: str, row: PoolRow, state: State) -> list[Demand]:
    """The demand of all partitions; what has expired keeps only its measurements."""
    rows = (state.get(_demand_key(pool, partition)) for partition in row.partitions)
    return [
        d if d.expires_ms > row.now_ms else replace(d, services=())
        for d in rows
        if isinstance(d, Demand)
    ]


def _pool(pool: str, state: State) -> PoolRow:
    row = state.get(_pool_key(pool))
    return row if isinstance(row, PoolRow) else PoolRow()


def _pool_key(pool: str) -> str:
    return f"p/{pool}"


def _demand_key(pool: str, partition: int) -> str:
    return f"d/{partition}/{pool}"
