"""The provisioner whose instances are child processes on this machine."""

from __future__ import annotations

import functools
from collections.abc import Callable

from streams.provisioners.core.interface import ProvisionerLimits
from streams.provisioners.core.pool_provisioner import PoolProvisioner
from streams.provisioners.local.cgroups import CgroupLimiter
from streams.provisioners.local.command_policy import CommandPolicy
from streams.provisioners.local.process_lifecycle import ProcessLifecycle
from streams.records import Instance
from streams.records.catalog import Catalog

__all__ = ["LocalProvisioner"]


class LocalProvisioner(PoolProvisioner[ProcessLifecycle]):
    """Carries out the commands of one pool on this machine; implements `Provisioner`.

    Instances do not outlive it, so a restarted one carries out again commands that have not expired.
    """

    def __init__(
        self,
        pool: str,
        catalog: Callable[[], Catalog],
        emit: Callable[[Instance], None],
        limits: ProvisionerLimits | None = None,
        cgroups: Callable[[], CgroupLimiter] = CgroupLimiter,
        *,
        commands: CommandPolicy,
    ) -> None:
        lifecycle = functools.partial(ProcessLifecycle, cgroups=cgroups, commands=commands)
        super().__init__(pool, catalog, emit, limits or ProvisionerLimits(), lifecycle)
