"""A studio for images, made up for the demonstration: its services, their start-ups and prices.

Numbers are those of real services, fifteen times faster. In gentd26, a published trace of image
generation, a model takes 22.7 s to start at the median, an adapter 4.4 s, a control net 3.9 s, and
a user asks again after 73 s. A model has an accelerator of 24 GiB to itself, at 1.20 an hour; the
others share one, by memory. An image sells for .04, and a second of waiting loses some 7 % of the
buyers: .003 a second.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from streams.records.catalog import (
    Catalog,
    CatalogEntry,
    Composite,
    Constituent,
    Pool,
    Resources,
    Tier,
)

__all__ = ["FINISHES", "TIER", "catalogue", "draw", "guide"]

TIER = Tier(tier="customer", weight=0.003, sla_ms=1_000)
GIB_HOUR = 0.05  # price of a GiB of an accelerator for an hour
NETS = ("depth", "pose", "edges", "scribble")
FINISHES = ("upscale", "restore", "animate", "vectorise")
ROOM = Resources(cpu=64_000, memory=64_000, bandwidth=1_000)  # more than is ever needed
SERVES_MS = 200  # an image in 3 s
PROGRAM = str(Path(__file__).with_name("constituent.py"))


def draw(style: int) -> str:
    """The composite that draws in a style: its model and its adapter."""
    return f"draw {style:03}"


def guide(style: int) -> str:
    """The composite that also follows a given outline: with a control net."""
    return f"guide {style:03}"


def catalogue(styles: int, *pools: str) -> Catalog:
    """The catalogue of a studio with so many styles."""
    return Catalog.of(
        [
            TIER,
            *(Pool(pool=pool, capacity=ROOM, trust_tier_header=True) for pool in pools),
            *(_part(net, gib=2.5, start_ms=260, serves=4) for net in NETS),
            *(entry for style in range(styles) for entry in _style(style)),
            *(entry for finish in FINISHES for entry in _finish(finish)),
        ]
    )


def _style(style: int) -> Iterator[CatalogEntry]:
    model, adapter, net = f"model {style:03}", f"adapter {style:03}", NETS[style % len(NETS)]
    yield _part(model, gib=24, start_ms=1_510)
    yield _part(adapter, gib=0.4, start_ms=290, serves=4)
    yield Composite(service=draw(style), steps=((model, adapter),), idempotent=True)
    yield Composite(service=guide(style), steps=((model, adapter, net),), idempotent=True)


def _finish(finish: str) -> Iterator[CatalogEntry]:
    yield _part(f"{finish} model", gib=12, start_ms=800)
    yield Composite(service=finish, steps=((f"{finish} model",),), idempotent=True)


def _part(name: str, *, gib: float, start_ms: int, serves: int = 1) -> Constituent:
    return Constituent(
        service=name,
        needs=Resources(cpu=10, memory=20),  # of the process that stands for it
        warm_up_ms=start_ms,
        price=round(gib * GIB_HOUR, 4),
        concurrency=serves,
        command=(sys.executable, "-I", "-S", PROGRAM, str(start_ms), str(SERVES_MS)),
    )
