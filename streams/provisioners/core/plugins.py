"""Provisioners of other packages, found by their entry points."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoints, entry_points

from streams.errors import ProvisionerUnusable
from streams.provisioners.core.interface import Provisioner

__all__ = ["GROUP", "factory_of", "plugins"]

GROUP = "foremesh.provisioners"


def plugins() -> EntryPoints:
    """What other packages offer; the names are those of `foremesh provision --on`."""
    return entry_points(group=GROUP)


def factory_of(name: str) -> Callable[..., Provisioner]:
    """What makes a provisioner, given the pool, the catalogue, the publisher and the limits.

    Raises
    ------
    ProvisionerUnusable
        It cannot be imported, or is nothing that can be called.
    """
    try:
        found = plugins()[name].load()
    except Exception as error:  # a package of somebody else's may fail in any way
        raise ProvisionerUnusable(f"The provisioner {name!r} cannot be loaded: {error}") from error
    if not callable(found):
        kind = type(found).__name__
        raise ProvisionerUnusable(f"The provisioner {name!r} is of type {kind}, and makes nothing")
    factory: Callable[..., Provisioner] = found
    return factory
