"""What cold parts cost a request: steps follow one another, the parts of a step run in parallel."""

from __future__ import annotations

from collections.abc import Callable, Container
from functools import lru_cache

from streams.records.catalog import Catalog

__all__ = ["Steps", "cold_ms", "first_uses", "start_ms", "steps_of"]

Steps = tuple[tuple[str, ...], ...]


def steps_of(catalog: Catalog, service: str) -> Steps:
    """The steps of a composite; a service that the catalogue does not compose is its own part."""
    composite = catalog.composites.get(service)
    return composite.steps if composite else ((service,),)


def start_ms(
    name: str, catalog: Catalog, own_ms: Callable[[str], float], warm: Container[str]
) -> float:
    """How long a constituent of the catalogue takes to start, its base first unless that is warm.

    Parameters
    ----------
    own_ms
        How long each takes from a warm base.
    warm
        The constituents with a warm instance.
    """
    base = catalog.constituents[name].base
    first = base in catalog.constituents and base not in warm
    return own_ms(name) + (own_ms(base) if first else 0)


def cold_ms(steps: Steps, wait_ms: Callable[[str], int]) -> int:
    """Time that starting instances puts on the critical path, in ms.

    Parameters
    ----------
    steps
        The composite's constituents. One that comes again in a later step is warm by then.
    wait_ms
        How long a constituent has to be waited for; 0 for a warm one.
    """
    return sum(max((wait_ms(part) for part in step), default=0) for step in first_uses(steps))


@lru_cache(maxsize=10_000)  # asked for at every request
def first_uses(steps: Steps) -> Steps:
    """The steps, each constituent only where it is used first."""
    seen: set[str] = set()
    first: list[tuple[str, ...]] = []
    for step in steps:
        first.append(tuple(part for part in dict.fromkeys(step) if part not in seen))
        seen.update(step)
    return tuple(first)
