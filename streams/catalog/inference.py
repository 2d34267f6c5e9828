"""A first catalogue from a request log: its names are right, its numbers are to be edited."""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from streams.catalog.fields import MAX_NAME, has_control
from streams.errors import LogUnreadable
from streams.records import Request
from streams.records.catalog import (
    Catalog,
    CatalogEntry,
    Composite,
    Constituent,
    Pool,
    Resources,
    Tier,
)

__all__ = ["ADVICE", "A_NAME", "LeftOut", "infer"]

MAX_SERVICES = 10_000

A_NAME = f"a name has 1 to {MAX_NAME} characters, and none that moves a cursor or ends a line"

NEEDS = Resources(cpu=1000, memory=1024, bandwidth=10)
WARM_UP_MS = 10_000
PRICE = 1.0  # of one warm instance for an hour: the unit of everything else
WEIGHT = 0.01  # a minute of a warm instance pays when it saves 1.7 s
SLA_MS = 1_000

ADVICE = """\
Edit the numbers: the log says which services, tiers and pools there are, not what they need.
Each composite stands for itself here; name the constituents that it is made of and that start
on their own. A pool holds a tenth of the services, four at least, so that there is something to
decide, and as many instances as the log has requests at once, if it says how long they took."""


@dataclass(slots=True)
class LeftOut:
    """Requests that name what can be in no catalogue."""

    count: int = 0
    first: str = ""  # such a name


def infer(requests: Iterable[Request], left_out: LeftOut | None = None) -> Catalog:
    """Guess a catalogue from requests, the most frequent services first.

    Parameters
    ----------
    requests
        Of a log.
    left_out
        Counts those that name what can be in no catalogue.

    Raises
    ------
    LogUnreadable
        There is no service, or there are so many that the column must be another one.
    """
    services: Counter[str] = Counter()
    tiers: Counter[str] = Counter()
    pools: Counter[str] = Counter()
    spans: defaultdict[str, _ServedSpans] = defaultdict(_ServedSpans)  # by pool
    left_out = LeftOut() if left_out is None else left_out
    for request in requests:
        names = (request.service, request.tier, request.pool)
        if not all(map(_is_name, names)):
            left_out.first = left_out.first or next(n for n in names if not _is_name(n))
            left_out.count += 1
            continue
        if request.serve_ms:
            spans[request.pool].add(request)
        for counts, name in (
            (services, request.service),
            (tiers, request.tier),
            (pools, request.pool),
        ):
            counts[name] += 1
            if len(counts) > MAX_SERVICES:
                raise LogUnreadable(
                    f"The log has more than {MAX_SERVICES} services, tiers or pools, such as"
                    f" {name[:40]!r}: name the right column, see --item, --tier and --pool"
                )
    if not services and left_out.first:
        raise LogUnreadable(
            f"No request of the log can be in a catalogue, such as one for {left_out.first[:40]!r}:"
            f" {A_NAME}"
        )
    if not services:
        raise LogUnreadable("The log names no service: name the right column with --item")
    at_once = {pool: found.at_once() for pool, found in spans.items()}
    return Catalog.of(_entries(_ordered(services), _ordered(tiers), _ordered(pools), at_once))


@dataclass(frozen=True, slots=True)
class _ServedSpans:
    """When requests were served that say how long they took."""

    begin_ms: array[int] = field(default_factory=partial(array, "q"))
    end_ms: array[int] = field(default_factory=partial(array, "q"))

    def add(self, request: Request) -> None:
        self.begin_ms.append(request.at_ms)
        self.end_ms.append(request.at_ms + request.serve_ms)

    def at_once(self) -> int:
        """The most at the same time."""
        begins, ends = np.sort(self.begin_ms), np.sort(self.end_ms)
        ended = np.searchsorted(ends, begins, "right")
        return int((np.arange(1, len(begins) + 1) - ended).max(initial=0))


def _is_name(text: str) -> bool:
    return 0 < len(text.strip()) <= MAX_NAME and not has_control(text)


def _ordered(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda name: (-counts[name], name))


def _entries(
    services: list[str], tiers: list[str], pools: list[str], at_once: Mapping[str, int]
) -> Iterable[CatalogEntry]:
    room = max(math.ceil(len(services) / 10), min(len(services), 4))
    for name in services:
        yield Constituent(service=name, needs=NEEDS, warm_up_ms=WARM_UP_MS, price=PRICE)
        yield Composite(service=name, steps=((name,),))
    for name in tiers:
        yield Tier(tier=name, weight=WEIGHT, sla_ms=SLA_MS)
    for name in pools:
        yield Pool(pool=name, capacity=NEEDS.times(max(room, at_once.get(name, 0))))
