"""What the stages of a worker decide on a log, at several prices: each row is a replay of its own."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from streams.lab.compare.ledger import PolicyLedger
from streams.pipeline.replay import at_price, replay
from streams.records import Instance, Outcome, Record, Request
from streams.records.catalog import Catalog, Pool, Resources
from streams.runtime.collector import collect_seldom
from streams.settings import Settings

__all__ = ["EVERY_PRICE", "PRICES", "StagedRuns", "within"]

EVERY_PRICE = tuple(1.5**-i for i in range(-1, 24))  # factors on the prices of the catalogue
PRICES = tuple(2.25**-i for i in range(12))
PLENTY = 1e15  # of each resource, where nothing is bound
POLL_S = 0.1
REPORT = 100  # requests between two reports of progress


def within(catalog: Catalog, capacity_mib: float) -> Catalog:
    """The catalogue with pools of this much memory, and enough of all else."""
    room = Resources(cpu=PLENTY, memory=min(PLENTY, capacity_mib), bandwidth=PLENTY)
    pools: Iterable[Pool] = (
        replace(pool, capacity=room, budget=float("inf")) for pool in catalog.pools.values()
    )
    return Catalog.of([*catalog, *pools])


@dataclass(slots=True)
class RecordLedger:
    """The account of a replay: its outcomes judged, its instances paid for.

    Parameters
    ----------
    ledger
        What is filled in.
    """

    ledger: PolicyLedger
    _lives: dict[str, Instance] = field(default_factory=dict)  # instances that are not gone, by id
    _unused: dict[str, int] = field(default_factory=dict)  # id -> last use or start

    def take(self, record: Record) -> None:
        """Count a record."""
        match record:
            case Outcome():
                self._judge(record)
            case Instance() if record.gone_ms is None:
                self._lives[record.instance_id] = record
                self._unused.setdefault(record.instance_id, record.started_ms)
            case Instance():
                self._end(record.instance_id, record.gone_ms or 0)
            case _:
                pass

    def close(self, at_ms: int) -> PolicyLedger:
        """End all instances; the finished account."""
        for name, life in list(self._lives.items()):
            self._end(name, max(at_ms, life.free_from_ms or 0))  # what it has begun is paid for
        return self.ledger

    def _judge(self, outcome: Outcome) -> None:
        ledger = self.ledger
        if outcome.at_ms >= ledger.from_ms:
            ledger.count(outcome, outcome.cold_ms)
        for part in outcome.parts:
            if part.instance_id in self._unused:
                ledger.used_after(self._unused[part.instance_id], outcome.at_ms)
                self._unused[part.instance_id] = outcome.at_ms

    def _end(self, name: str, at_ms: int) -> None:
        life = self._lives.pop(name, None)
        self._unused.pop(name, None)
        if life:
            self.ledger.pay(life.service, life.started_ms, at_ms)


@dataclass(frozen=True, slots=True)
class StagedRuns:
    """Replays of one log at several prices, each in a process of its own.

    Parameters
    ----------
    requests
        In order of time.
    catalog
        See `within`.
    from_ms
        Nothing is counted before.
    """

    requests: Sequence[Request]
    catalog: Catalog
    from_ms: int
    settings: Settings

    def run(self, prices: Sequence[float]) -> Iterator[int | list[PolicyLedger]]:
        """Yields numbers of requests taken, for a progress bar; then the accounts by price."""
        processes = max(1, min(len(prices), os.cpu_count() or 1))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])  # imported once, and shared by all
        taken = context.Value("q", 0)
        with context.Pool(processes, _begin, (self, taken)) as pool:
            found = pool.map_async(_account, prices, chunksize=1)
            told = 0
            while not found.ready():
                time.sleep(POLL_S)
                now = int(taken.value)
                yield now - told
                told = now
            yield found.get()

    def account(self, price: float, tell: Callable[[int], None] = lambda _: None) -> PolicyLedger:
        """The account of a replay at a price; `tell` hears of every `REPORT` requests."""
        account = RecordLedger(PolicyLedger(self.catalog, self.from_ms))
        log: Iterable[Record] = (*at_price(price, self.catalog), *self.requests)
        taken = 0
        for record in replay(log, self.settings, self.catalog):
            account.take(record)
            if isinstance(record, Request):
                taken += 1
                if taken % REPORT == 0:
                    tell(REPORT)
        tell(taken % REPORT)
        return account.close(self.requests[-1].at_ms)


_shared: dict[str, Any] = {}  # of a process of the pool


def _begin(runs: StagedRuns, taken: Any) -> None:
    _shared.update(runs=runs, taken=taken)
    collect_seldom()


def _account(price: float) -> PolicyLedger:
    runs: StagedRuns = _shared["runs"]
    return runs.account(price, _tell)


def _tell(count: int) -> None:
    taken = _shared["taken"]
    with taken.get_lock():
        taken.value += count
