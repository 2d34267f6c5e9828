"""Real small services for tests that start instances."""

from __future__ import annotations

from pathlib import Path

from streams.catalog import Catalog, Composite, Constituent, Pool, Resources, Tier
from streams.provisioners.base import wall_ms
from streams.records import Action, Command

SERVICE = str(Path(__file__).parents[1] / "streams" / "demo" / "constituent.py")

ONE = Resources(cpu=100, memory=32, bandwidth=1)


def constituent(name: str, folder: Path, *more: str, concurrency: int = 1) -> Constituent:
    """A constituent that is quick to start."""
    small = ("--model-mib", "1", "--index", "10", "--work", "1", "--folder", str(folder))
    return Constituent(
        service=name,
        needs=ONE,
        warm_up_ms=200,
        price=1.0,
        concurrency=concurrency,
        command=("{python}", "-S", SERVICE, *small, *more),
    )


def catalog_of(*constituents: Constituent, room: int = 4, pool: str = "default") -> Catalog:
    """These constituents, a composite of each, one of all, and a pool for `room` instances."""
    names = [one.service for one in constituents]
    return Catalog.of(
        [
            *constituents,
            *(Composite(service=f"only-{name}", steps=((name,),)) for name in names),
            Composite(service="all", steps=tuple((name,) for name in names)),
            Composite(service="together", steps=(tuple(names),)),
            Pool(pool=pool, capacity=ONE.times(room)),
            Tier(tier="gold", weight=2.0, sla_ms=500, priority=2),
            Tier(tier="standard", weight=1.0, sla_ms=2_000, priority=0),
        ]
    )


def command(
    service: str,
    *,
    action: Action = Action.PROVISION,
    count: int = 1,
    name: str = "",
    pool: str = "default",
    expires_in_ms: int = 60_000,
) -> Command:
    """A command of now."""
    now_ms = wall_ms()
    return Command(
        command_id=name or f"{action}-{service}-{count}-{now_ms}",
        pool=pool,
        action=action,
        service=service,
        count=count,
        value=1.0,
        cost=0.1,
        priority=1.0,
        issued_ms=now_ms,
        expires_ms=now_ms + expires_in_ms,
        reason="a test wants it",
    )
