"""A catalogue with names and numbers as long as people have them."""

from __future__ import annotations

from dataclasses import replace

from streams.records.catalog import Catalog, Composite, Constituent, Pool, Resources, Tier

__all__ = ["LONG", "wide_catalog"]

LONG = "runwayml/stable-diffusion-v1-5-with-controlnet-canny"  # a name as people have them


def wide_catalog(*, layered: bool) -> Catalog:
    """It; `layered` if one constituent starts from another."""
    base = Constituent(
        service=f"{LONG} base",
        needs=Resources(cpu=1_000, memory=12_288, bandwidth=5),
        warm_up_ms=22_700,
        price=9,
    )
    style = Constituent(
        service="style", needs=Resources(memory=0.5), warm_up_ms=4_400, price=0.025, concurrency=8
    )
    return Catalog.of([
        base,
        replace(style, base=base.service) if layered else style,
        Composite(service="sketch", steps=((base.service,),)),
        Composite(service="poster", steps=((base.service, "style"), ("upscale",))),
        Tier(tier="gold", weight=0.02, sla_ms=12_000, priority=10),
        Tier(tier="standard", weight=0.0005, sla_ms=60_000, quota=0.25),
        Pool(pool="studio", capacity=Resources(cpu=64_000, memory=1_048_576), budget=12.5),
        Pool(pool="default", capacity=Resources(cpu=8_000, memory=16_384, bandwidth=1_000)),
    ])  # fmt: skip
