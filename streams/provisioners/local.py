"""Instances as child processes of this machine."""

from __future__ import annotations

import functools
from collections.abc import Callable

from streams.catalog import Catalog
from streams.provisioners.base import Limits
from streams.provisioners.cgroups import Cgroups
from streams.provisioners.pool import PoolProvisioner
from streams.provisioners.processes import ProcessLives
from streams.records import Instance

__all__ = ["LocalProvisioner"]


class LocalProvisioner(PoolProvisioner[ProcessLives]):
    """Carries out the commands of one pool on this machine; satisfies `base.Provisioner`.

    Instances do not outlive it, so after a restart a command that has not expired counts again.
    """

    def __init__(
        self,
        pool: str,
        catalog: Callable[[], Catalog],
        emit: Callable[[Instance], None],
        limits: Limits | None = None,
        cgroups: Callable[[], Cgroups] = Cgroups,
    ) -> None:
        lives = functools.partial(ProcessLives, cgroups=cgroups)
        super().__init__(pool, catalog, emit, limits or Limits(), lives)
