"""The own past of each constituent of a pool: learnt from arrivals, asked for advice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.allocator.advice import KeepWarmAdvice
from streams.allocator.calibration import Pair
from streams.allocator.constituent_past import ConstituentPast
from streams.allocator.valuation.advice_times import NEVER_MS, earliest, stale, unsettled
from streams.allocator.valuation.catalog_index import CatalogIndex, Numbers
from streams.allocator.valuation.levels import ConstituentTiming
from streams.models.keep_warm.own_past import FAR_MS, KeepWarmCosts
from streams.models.keep_warm.shared_weights import SharedWeights

__all__ = ["OwnPasts", "PoolPasts", "owner_of"]

HOUR_MS = 3_600_000
REMEMBERED = 50.0  # uses whose waits are averaged

PastRows = MutableMapping[str, Any]


def owner_of(pool: str, variant: str = "") -> str:
    """Whose pasts are meant: the pool's own, or those of a variant on trial."""
    return f"{len(pool)},{len(variant)}/{pool}/{variant}/"


@dataclass(slots=True, eq=False)
class _AdviceTable:
    """The latest advice for an owner as arrays over a catalogue, and until when it holds."""

    index: CatalogIndex
    shared: SharedWeights
    rows: list[ConstituentPast | None]
    to_keep: Numbers
    to_start: Numbers
    tier: Numbers
    until_ms: Numbers
    open: NDArray[np.bool_]  # whether it may hold for longer, see `AdviceSpan`
    warm_up_ms: Numbers
    settled: Numbers  # see `DemandedNumber`
    falling: NDArray[np.bool_]  # the same

    @classmethod
    def of(cls, owner: str, state: PastRows, index: CatalogIndex) -> _AdviceTable:
        size = len(index.constituents)
        rows = [state.get(_row_key(owner, c.service)) for c in index.constituents]
        known = np.array([row is not None for row in rows], np.bool_)
        return cls(
            index=index,
            shared=_shared(owner, state) or SharedWeights.of_all(row.past for row in rows if row),
            rows=rows,
            to_keep=np.where(known, 0, -1),
            to_start=np.where(known, 0, -1),
            tier=np.zeros(size, np.int64),
            until_ms=np.where(known, 0, NEVER_MS),
            open=np.zeros(size, np.bool_),
            warm_up_ms=np.full(size, -1, np.int64),
            settled=np.array([row.demanded.settled if row else -1 for row in rows], np.int64),
            falling=np.array([row is not None and row.demanded.falls for row in rows], np.bool_),
        )


class OwnPasts:
    """Finds the pasts of pools, and keeps their advice until it changes.

    Parameters
    ----------
    late_ms
        Requests are heard of at most so late.
    """

    def __init__(self, late_ms: int) -> None:
        self._late_ms = late_ms
        self._tables: dict[str, _AdviceTable] = {}

    def of(
        self,
        owner: str,
        state: PastRows,
        index: CatalogIndex,
        timing: ConstituentTiming,
        *,
        now_ms: int,
        price: float,
    ) -> PoolPasts:
        """The pasts of an owner at a time; `price` is the factor on the price of warm time.

        State goes back when a step fails: what is kept counts while the shared weights, which are
        new after each change, are those in the state.
        """
        table = self._tables.get(owner)
        stale = table is None or table.index is not index
        if table is None or stale or table.shared is not state.get(_shared_key(owner)):
            table = self._tables[owner] = _AdviceTable.of(owner, state, index)
        return PoolPasts(owner, state, table, timing, now_ms, price, self._late_ms)

    def begin(self, owner: str, other: str, state: PastRows, index: CatalogIndex) -> None:
        """Give one owner the pasts of another."""
        for constituent in index.constituents:
            row = state.get(_row_key(other, constituent.service))
            if row is not None:
                state[_row_key(owner, constituent.service)] = row
        if shared := _shared(other, state):
            state[_shared_key(owner)] = shared

    def end(self, owner: str, state: PastRows) -> None:
        """Forget the pasts of an owner."""
        self._tables.pop(owner, None)
        for key in [key for key in state if key.startswith(_row_key(owner, ""))]:
            del state[key]
        state.pop(_shared_key(owner), None)


@dataclass(frozen=True, slots=True, eq=False)
class PoolPasts:
    """The pasts of one owner at one time; changes go to the state.

    A constituent has a row from its first request on, of 18 KB at most; there are as many as
    constituents that the catalogue ever had.
    """

    owner: str
    state: PastRows
    table: _AdviceTable
    timing: ConstituentTiming
    now_ms: int
    price: float
    late_ms: int

    def learn(self, arrived: Mapping[Pair, int]) -> None:
        """Take in the requests since the last decision."""
        uses: dict[int, list[tuple[int, float, str]]] = {}
        for pair, count in arrived.items():
            for part, wait in self._waits(pair):
                uses.setdefault(part, []).append((count, wait, pair[1]))
        for part, found in uses.items():
            self._use(part, found)

    def advise(self, paying: Numbers) -> KeepWarmAdvice:
        """The advice when so many instances pay by the demand alone."""
        table = self.table
        numbers = paying * table.index.at_once
        for part in unsettled(table.to_keep, table.settled, numbers):
            self._name(part, int(numbers[part]))
        warm_up_ms = self.timing.warm_up_ms
        for part in stale(table.to_keep, table.until_ms, table.warm_up_ms, warm_up_ms, self.now_ms):
            self._look_up(part, int(warm_up_ms[part]), self.now_ms)
        return KeepWarmAdvice(table.to_keep.copy(), table.to_start.copy(), table.tier.copy())

    @property
    def next_ms(self) -> int:
        """When the advice may change if nothing comes; 0 if nothing is known of it."""
        table = self.table
        if table.falling.any():
            return self.now_ms + self.late_ms
        while (part := earliest(table.until_ms, self.now_ms)) >= 0:
            until_ms = int(table.until_ms[part])
            if not table.open[part]:
                return until_ms
            self._look_up(part, int(table.warm_up_ms[part]), until_ms)
        return 0

    def _waits(self, pair: Pair) -> Iterator[tuple[int, float]]:
        """The constituents of a request, each with its share in what waiting for all would cost."""
        index = self.table.index
        place = index.place(pair)
        if place is None:
            return
        service, tier = place
        weight = float(index.weight[tier]) / 1000
        for step in index.steps_of_service(service):
            slow = [(float(self.timing.warm_up_ms[part]), part) for part in step]
            yield from ((part, weight * ms) for part, ms in _shares(sorted(slow)))

    def _use(self, part: int, found: list[tuple[int, float, str]]) -> None:
        row, others = self.table.rows[part], self._others(part)
        count = sum(count for count, _, _ in found)
        mean = sum(count * wait for count, wait, _ in found) / count
        before = row or ConstituentPast()
        demanded = before.demanded.at(self.now_ms - self.late_ms)
        before = before.naming(demanded, self.now_ms, before.costs)
        uses = before.uses + count
        wait = before.costs.wait + (mean - before.costs.wait) * count / min(uses, REMEMBERED)
        costs = self._costs(part, wait if count < REMEMBERED else mean)
        past = before.past.using(
            self.now_ms,
            self.now_ms + int(self.timing.serve_ms[part]),
            costs,
            count=count,
            at_once=int(self.table.index.at_once[part]),
            start_ms=min(FAR_MS, int(self.timing.warm_up_ms[part])),
            prior=others.prior(),
        )
        _, _, tier = found[-1]
        self._put(part, ConstituentPast(past, costs, uses, tier, before.demanded), others)

    def _name(self, part: int, number: int) -> None:
        row, warm_up_ms = self.table.rows[part], int(self.timing.warm_up_ms[part])
        assert row is not None
        demanded = row.demanded.then(number, self.now_ms, warm_up_ms)
        if demanded != row.demanded:
            others, costs = self._others(part), self._costs(part, row.costs.wait)
            self._put(part, row.naming(demanded, self.now_ms, costs, others.prior()), others)

    def _others(self, part: int) -> SharedWeights:
        """The weights of all other pasts."""
        row = self.table.rows[part]
        return self.table.shared.without(row.past) if row else self.table.shared

    def _put(self, part: int, row: ConstituentPast, others: SharedWeights) -> None:
        table, service = self.table, self.table.index.constituents[part].service
        table.rows[part], table.shared = row, others.including(row.past)
        table.until_ms[part], table.to_keep[part] = 0, 0
        table.settled[part], table.falling[part] = row.demanded.settled, row.demanded.falls
        self.state[_row_key(self.owner, service)] = row
        self.state[_shared_key(self.owner)] = table.shared

    def _look_up(self, part: int, warm_up_ms: int, at_ms: int) -> None:
        """Look up the advice, which is the same from now to this time if it was known so far."""
        table = self.table
        row, at_once = table.rows[part], int(table.index.at_once[part])
        assert row is not None
        ahead_ms = min(warm_up_ms, FAR_MS)
        ahead = row.ahead
        now, then = ahead.at(at_ms), ahead.at(at_ms + ahead_ms)
        table.to_start[part] = -(-then.number // at_once)
        table.to_keep[part] = -(-max(now.number, then.number) // at_once)
        ends = (now.until_ms, now.open), (then.until_ms - ahead_ms, then.open)
        table.until_ms[part], table.open[part] = min(ends)
        table.warm_up_ms[part] = warm_up_ms
        table.tier[part] = table.index.tier_number(row.tier)

    def _costs(self, part: int, wait: float) -> KeepWarmCosts:
        hour = float(self.table.index.price[part]) * self.price
        return KeepWarmCosts(hour, wait, hour * float(self.timing.warm_up_ms[part]) / HOUR_MS)


def _shares(slow: list[tuple[float, int]]) -> Iterator[tuple[int, float]]:
    """Each constituent's share in ms of the wait for the slowest, fastest first.

    The Shapley value of the airport game, see `step_values`.
    """
    share_ms = before_ms = 0.0
    for place, (ms, part) in enumerate(slow):
        share_ms += (ms - before_ms) / (len(slow) - place)
        before_ms = ms
        yield part, share_ms


def _row_key(owner: str, service: str) -> str:
    return f"k/{owner}{service}"


def _shared_key(owner: str) -> str:
    return f"l/{owner}"


def _shared(owner: str, state: PastRows) -> SharedWeights | None:
    """The weights that are shared; None before the first past, or of an earlier release."""
    found = state.get(_shared_key(owner))
    return found if isinstance(found, SharedWeights) else None
