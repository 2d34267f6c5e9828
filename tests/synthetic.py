"""A log whose true structure is known, and what the best policy that knows it would pay.

A start takes 10 s, so a request that need not wait is worth .1, and a warm hour costs 1: what comes
by chance is worth keeping warm at all times when it comes more than 10 times an hour, else never.
Everything here is far from that limit:

- Twenty shoppers order by chance, 6 to 7 times an hour together: never warm. Each pays 40 s
  after the order and has the receipt 50 s after that, each 2 s more or less: warm from just
  before it may come until it does.
- A report is made every 600 s, 5 s more or less: as well.
- One user browses by chance, 20 times an hour: warm always. One searches twice an hour: never.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from streams.records import Request
from streams.records.catalog import Catalog, Composite, Constituent, Pool, Resources, Tier

__all__ = ["ALWAYS", "CATALOG", "FORETOLD", "NEVER", "Gap", "optimal_cost", "requests"]

START_MS, DAYS = 1_700_000_000_000, 7
HOUR_MS = 3_600_000
WARM_UP_MS, WEIGHT, PRICE = 10_000, 0.01, 1.0
SHOPPERS, PAUSE_MS = 20, 3 * HOUR_MS  # mean time between a shopper's orders


@dataclass(frozen=True, slots=True)
class Gap:
    """A service that comes a known time after another one of the same user."""

    after: str
    least_ms: int
    most_ms: int

    def drawn(self, numbers: Random) -> int:
        """One such time, all alike."""
        return numbers.randint(self.least_ms, self.most_ms)


FORETOLD = {
    "pay": Gap("order", 38_000, 42_000),
    "receipt": Gap("pay", 48_000, 52_000),
    "report": Gap("report", 595_000, 605_000),
}
ALWAYS, NEVER = ("browse",), ("order", "search")
BY_CHANCE_MS = {"browse": HOUR_MS / 20, "search": HOUR_MS / 2}  # mean gap

CATALOG = Catalog.of(
    entry
    for name in (*FORETOLD, *ALWAYS, *NEVER)
    for entry in (
        Constituent(
            service=name,
            needs=Resources(cpu=1.0, memory=1024.0),
            warm_up_ms=WARM_UP_MS,
            price=PRICE,
        ),
        Composite(service=name, steps=((name,),)),
        Tier(tier="standard", weight=WEIGHT, sla_ms=1_000),
        Pool(pool="default", capacity=Resources(cpu=9.0, memory=9_216.0)),
    )
)


def requests(seed: int = 7) -> list[Request]:
    """The log, in order of time."""
    numbers, end_ms = Random(seed), START_MS + DAYS * 24 * HOUR_MS
    uses = sorted(use for use in _uses(numbers, end_ms) if use[0] < end_ms)
    return [
        Request(request_id=f"r{i}", user=user, service=service, at_ms=at_ms)
        for i, (at_ms, user, service) in enumerate(uses)
    ]


def _uses(numbers: Random, end_ms: int) -> Iterator[tuple[int, str, str]]:
    for i in range(SHOPPERS):
        for order_ms in _by_chance(numbers, PAUSE_MS, end_ms):
            pay_ms = order_ms + FORETOLD["pay"].drawn(numbers)
            yield order_ms, f"shopper-{i}", "order"
            yield pay_ms, f"shopper-{i}", "pay"
            yield pay_ms + FORETOLD["receipt"].drawn(numbers), f"shopper-{i}", "receipt"
    at_ms = START_MS
    while at_ms < end_ms:
        yield at_ms, "reporter", "report"
        at_ms += FORETOLD["report"].drawn(numbers)
    for service, mean_ms in BY_CHANCE_MS.items():
        yield from (
            (at_ms, f"{service}r", service) for at_ms in _by_chance(numbers, mean_ms, end_ms)
        )


def _by_chance(numbers: Random, mean_ms: float, end_ms: int) -> Iterator[int]:
    """Times of a Poisson process."""
    at_ms = START_MS + numbers.expovariate(1 / mean_ms)
    while at_ms < end_ms:
        yield round(at_ms)
        at_ms += numbers.expovariate(1 / mean_ms)


def optimal_cost(log: Sequence[Request], from_ms: int) -> float:
    """What waits and warm time cost from then on, when the structure is known.

    What is foretold is started so that it is warm at the earliest time at which it may come: its
    request waits never, and it costs its start and the time that it comes later than that.
    """
    end_ms, last_ms = log[-1].at_ms, dict[tuple[str, str], int]()
    waits = warm_ms = 0
    for request in log:
        gap = FORETOLD.get(request.service)
        before_ms = last_ms.get((request.user, gap.after)) if gap else None
        last_ms[request.user, request.service] = request.at_ms
        if request.at_ms < from_ms:
            continue
        waits += request.service in NEVER
        if gap and before_ms is not None:
            warm_ms += request.at_ms - before_ms - gap.least_ms + WARM_UP_MS
    warm_ms += len(ALWAYS) * (end_ms - from_ms)
    return waits * WEIGHT * WARM_UP_MS / 1000 + warm_ms * PRICE / HOUR_MS
