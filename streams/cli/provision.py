"""`foremesh provision`: start and end instances as commanded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import click

from streams.cli import pass_settings
from streams.provisioners.core.interface import ProvisionerLimits
from streams.provisioners.local.cgroup_files import CONTROLLERS
from streams.runtime.event_loop import until_signalled
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@click.option("--pool", default="default", show_default=True, show_envvar=True, help="Its pool.")
@click.option(
    "--on",
    "where",
    type=click.Choice(["local", "kubernetes"]),
    default="local",
    show_default=True,
    show_envvar=True,
    help="Child processes of this machine, or pods of labelled Deployments.",
)
@click.option("--listen", show_envvar=True, help="host:port  [default: FOREMESH_PROVISIONER's]")
@click.option(
    "--starts",
    type=click.IntRange(1),
    show_envvar=True,
    help="Most starts at once.  [default: 2; 16 on Kubernetes]",
)
@click.option(
    "--keep-alive",
    default=600.0,
    show_default=True,
    show_envvar=True,
    help="Seconds after which an instance ends that nobody used or commanded.",
)
@click.option(
    "--limit",
    type=click.Choice(CONTROLLERS),
    multiple=True,
    show_envvar=True,
    help="Limit each local instance to what the catalogue declares: beyond its memory it is ended, to"
    " its cpu it is slowed down, while it starts too. May be repeated.  [default: neither]",
)
@click.option(
    "--limit-if-possible",
    is_flag=True,
    show_envvar=True,
    help="Go on without limits where cgroups do not allow them.",
)
@click.option("--namespace", show_envvar=True, help="Of the Deployments.  [default: the context's]")
@click.option(
    "--take-over",
    is_flag=True,
    show_envvar=True,
    help="Scale Deployments also against an autoscaler or another owner of their replicas.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    show_envvar=True,
    help="Start nothing; say what would have been. On Kubernetes: ask the API server, and end.",
)
@pass_settings
def command(
    settings: Settings,
    *,
    pool: str,
    where: str,
    listen: str | None,
    starts: int | None,
    keep_alive: float,
    limit: Sequence[str],
    limit_if_possible: bool,
    namespace: str | None,
    take_over: bool,
    dry_run: bool,
) -> None:
    """Start and end instances of one pool as commanded.

    On this machine a constituent with a `base` is forked from that, whose command is
    `{python} {zygote} --import MODULES`; a pod on Kubernetes starts by itself, whatever its base.

    With `--limit` an instance here, and all that it starts, has the memory or cpu that the catalogue
    declares, and no more. Its record says when it ended for that. Of the memory that it shares with
    its base only what it changes counts; a base itself is not limited. Cgroups allow
    limits to what systemd has started with Delegate=yes (version 2), or to root (version 1); where
    they do not, it says so and ends.
    """
    listen, keep_alive_ms = listen or settings.provisioner, round(keep_alive * 1000)
    if where == "kubernetes":
        from streams.cli import provision_kubernetes  # noqa: PLC0415

        limits = ProvisionerLimits(
            starts=starts or 16, start_ms=300_000, keep_alive_ms=keep_alive_ms
        )
        place = provision_kubernetes.KubernetesTarget(
            pool=pool, namespace=namespace, take_over=take_over
        )
        if dry_run:
            asyncio.run(place.survey(settings))
        else:
            asyncio.run(until_signalled(place.server(settings, listen, limits)))
    elif dry_run:
        from streams.cli import worker  # noqa: PLC0415

        click.get_current_context().invoke(worker.command, stages=("provisioner",))
    else:
        # Here, to keep --help instant.
        from streams.provisioners.core.provisioner_process import ProvisionerProcess  # noqa: PLC0415
        from streams.provisioners.local.cgroups import CgroupLimiter  # noqa: PLC0415
        from streams.provisioners.local.provisioner import LocalProvisioner  # noqa: PLC0415

        cgroups = partial(CgroupLimiter.open, limit, required=not limit_if_possible)
        make = partial(LocalProvisioner, cgroups=cgroups)
        limits = ProvisionerLimits(starts=starts or 2, keep_alive_ms=keep_alive_ms)
        service = ProvisionerProcess(settings, pool, limits, make)
        asyncio.run(until_signalled(lambda stop: service.run(listen, stop)))
