"""The critical path of a composite: its steps are sequential, constituents of a step parallel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container
from functools import lru_cache

from streams.records.catalog import Catalog

__all__ = ["Steps", "cold_ms", "first_uses", "serve_ms", "start_ms", "steps_of"]

Steps = tuple[tuple[str, ...], ...]


def steps_of(catalog: Catalog, service: str) -> Steps:
    """The steps of a composite; a name that is no composite is a constituent alone."""
    composite = catalog.composites.get(service)
    return composite.steps if composite else ((service,),)


def start_ms(
    name: str, catalog: Catalog, own_ms: Callable[[str], float], warm: Container[str]
) -> float:
    """Start-up time of a constituent, in ms, with that of its base unless the base is warm.

    Parameters
    ----------
    own_ms
        Start-up time of each from a warm base, in ms.
    warm
        The constituents with a warm instance.
    """
    base = catalog.constituents[name].base
    first = base in catalog.constituents and base not in warm
    return own_ms(name) + (own_ms(base) if first else 0)


def cold_ms(steps: Steps, wait_ms: Callable[[str], int]) -> int:
    """Cold-start time on the critical path, in ms.

    Parameters
    ----------
    steps
        The composite's constituents. One that is used again in a later step is warm by then.
    wait_ms
        Wait for a constituent, in ms; 0 for a warm one.
    """
    return sum(max((wait_ms(part) for part in step), default=0) for step in first_uses(steps))


def serve_ms(steps: Steps, whole_ms: int) -> dict[str, int]:
    """How long each constituent serves a request of so many ms, if all its steps take as long."""
    counts = Counter(name for step in steps for name in dict.fromkeys(step))
    return {name: whole_ms * count // len(steps) for name, count in counts.items()}


@lru_cache(maxsize=10_000)  # asked for at every request
def first_uses(steps: Steps) -> Steps:
    """The steps, with each constituent only where it is first used."""
    seen: set[str] = set()
    first: list[tuple[str, ...]] = []
    for step in steps:
        first.append(tuple(part for part in dict.fromkeys(step) if part not in seen))
        seen.update(step)
    return tuple(first)
