"""Instances as child processes of this machine."""

from __future__ import annotations

import functools
from collections.abc import Callable

from streams.provisioners.core.base import Limits
from streams.provisioners.core.pool import PoolProvisioner
from streams.provisioners.local.cgroups import Cgroups
from streams.provisioners.local.process_lives import ProcessLives
from streams.records import Instance
from streams.records.catalog import Catalog

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
