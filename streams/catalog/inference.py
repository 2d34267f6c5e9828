"""A first catalogue from a request log: its names are right, its numbers are to be edited."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable

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

__all__ = ["ADVICE", "infer"]

MAX_SERVICES = 10_000

NEEDS = Resources(cpu=1000, memory=1024, bandwidth=10)
WARM_UP_MS = 10_000
PRICE = 1.0  # of one warm instance for an hour: the unit of everything else
WEIGHT = 0.01  # a minute of a warm instance pays when it saves 1.7 s
SLA_MS = 1_000

ADVICE = """\
Edit the numbers: the log says which services, tiers and pools there are, not what they need.
Each composite stands for itself here; name the constituents that it is made of and that start
on their own. A pool holds a tenth of the services, so that there is something to decide, and as
many instances as the log has requests at once, if it says how long they took."""


def infer(requests: Iterable[Request]) -> Catalog:
    """Guess a catalogue from requests, the most frequent services first.

    Raises
    ------
    LogUnreadable
        There is no service, or there are so many that the column must be another one.
    """
    services: Counter[str] = Counter()
    tiers: Counter[str] = Counter()
    pools: Counter[str] = Counter()
    begin_ms, end_ms = array("q"), array("q")  # of those that say how long they took
    for request in requests:
        if not all(map(_is_name, (request.service, request.tier, request.pool))):
            continue
        if request.serve_ms:
            begin_ms.append(request.at_ms)
            end_ms.append(request.at_ms + request.serve_ms)
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
    if not services:
        raise LogUnreadable("The log names no service: name the right column with --item")
    names = _ordered(services)
    room = max(math.ceil(len(names) / 10), min(len(names), 4), _at_once(begin_ms, end_ms))
    return Catalog.of(_entries(names, _ordered(tiers), _ordered(pools), room))


def _at_once(begin_ms: array[int], end_ms: array[int]) -> int:
    """The most requests that were served at the same time."""
    begins, ends = np.sort(begin_ms), np.sort(end_ms)
    ended = np.searchsorted(ends, begins, "right")
    return int((np.arange(1, len(begins) + 1) - ended).max(initial=0))


def _is_name(text: str) -> bool:
    return 0 < len(text.strip()) <= MAX_NAME and not has_control(text)


def _ordered(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda name: (-counts[name], name))


def _entries(
    services: list[str], tiers: list[str], pools: list[str], room: int
) -> Iterable[CatalogEntry]:
    for name in services:
        yield Constituent(service=name, needs=NEEDS, warm_up_ms=WARM_UP_MS, price=PRICE)
        yield Composite(service=name, steps=((name,),))
    for name in tiers:
        yield Tier(tier=name, weight=WEIGHT, sla_ms=SLA_MS)
    for name in pools:
        yield Pool(pool=name, capacity=NEEDS.times(room))
