"""`foremesh provision`: start and end instances as commanded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import click

from streams.cli import pass_settings
from streams.cli.amounts import AmountParam
from streams.cli.given import refuse_given
from streams.provisioners.core.interface import Provisioner, ProvisionerLimits
from streams.provisioners.core.plugins import factory_of, plugins
from streams.provisioners.local.cgroup_files import CONTROLLERS
from streams.provisioners.local.command_policy import CommandPolicy, noted_at
from streams.runtime.access import Listener, listener
from streams.runtime.event_loop import until_signalled
from streams.settings import Settings

__all__ = ["command"]

CATALOGUES = (".yaml", ".yml")
_LOCAL = ("limit", "limit_if_possible", "allow_command", "pass_env")  # of child processes here
_KUBERNETES = ("namespace", "take_over")
_ACTS = ("listen", "starts", "keep_alive", *_LOCAL)  # of instances that run: a dry run has none


class _Allowed(click.ParamType):
    """Commands have spaces, so the variable has one a line."""

    name = "pattern|file"
    envvar_list_splitter = "\n"


@click.command()
@click.option(
    "--pool", default="default", show_default=True, show_envvar=True, help="Pool to provision."
)
@click.option(
    "--on",
    "where",
    type=click.Choice(["local", "kubernetes", *plugins().names]),
    default="local",
    show_default=True,
    show_envvar=True,
    help="Where instances run: as child processes here, as pods of labelled Deployments, or where a"
    " provisioner of another package (entry point `foremesh.provisioners`) has them.",
)
@click.option("--listen", show_envvar=True, help="host:port  [default: FOREMESH_PROVISIONER]")
@click.option(
    "--starts",
    type=click.IntRange(1),
    show_envvar=True,
    help="Most concurrent starts.  [default: 2; 256 on Kubernetes]",
)
@click.option(
    "--keep-alive",
    type=AmountParam(min=0),
    default=600.0,
    show_default=True,
    show_envvar=True,
    help="End an instance after this many seconds without use, unless a command for the pool came in"
    " the last hour: then the allocator decides on what the catalogue has.",
)
@click.option(
    "--limit",
    type=click.Choice(CONTROLLERS),
    multiple=True,
    show_envvar=True,
    help="Limit each local instance to its declared memory (it is killed beyond) or cpu (it is"
    " throttled, also while it starts). May be repeated.  [default: neither]",
)
@click.option(
    "--limit-if-possible",
    is_flag=True,
    show_envvar=True,
    help="Continue without limits where cgroups do not allow them.",
)
@click.option(
    "--namespace",
    show_envvar=True,
    help="Namespace of the Deployments.  [default: that of the context]",
)
@click.option(
    "--take-over",
    is_flag=True,
    show_envvar=True,
    help="Scale Deployments even if an autoscaler or another manager owns their replicas.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    show_envvar=True,
    help="Start nothing; publish what would be started. On Kubernetes: report what could be scaled.",
)
@click.option(
    "--allow-command",
    type=_Allowed(),
    multiple=True,
    show_envvar=True,
    help="A command of the catalogue that may be started here, with * for a part of a word or, as the"
    " last word, for the rest; or a catalogue (NAME.yaml) whose commands may. May be repeated; in"
    " the variable one a line.  [default: what `foremesh catalog load` loaded from this directory]",
)
@click.option(
    "--pass-env",
    multiple=True,
    show_envvar=True,
    help="An environment variable (or A_*) that local instances get, besides PATH, HOME, LANG and"
    " their like. May be repeated.",
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
    allow_command: Sequence[str],
    pass_env: Sequence[str],
) -> None:
    """Start and end instances of one pool as commanded.

    On this machine a constituent with a `base` is forked from the base, whose command is
    `{python} {zygote} --import MODULES`. On Kubernetes each pod starts by itself, with or without a
    base.

    With `--limit` a local instance and its child processes get the memory or cpu that the catalogue
    declares, and no more; its record says if it was killed for that. Of the memory shared with its
    base only pages that it changes count; a base itself is not limited. Limits require cgroups: a
    start by systemd with Delegate=yes (version 2), or root (version 1). Without them the command
    fails.
    """
    _refuse_useless(where, dry_run=dry_run)
    keep_alive_ms = round(keep_alive * 1000)
    if where == "kubernetes":
        from streams.cli import provision_kubernetes  # noqa: PLC0415

        limits = ProvisionerLimits(
            starts=starts or 256, start_ms=300_000, keep_alive_ms=keep_alive_ms
        )
        target = provision_kubernetes.KubernetesTarget(
            pool=pool, namespace=namespace, take_over=take_over
        )
        if dry_run:
            asyncio.run(target.survey(settings))
        else:
            asyncio.run(until_signalled(target.server(settings, _at(settings, listen), limits)))
    elif dry_run:
        _plan()
    else:
        limits = ProvisionerLimits(starts=starts or 2, keep_alive_ms=keep_alive_ms)
        commands = _command_policy(settings, allow_command, pass_env)
        ours = _local(limit, limit_if_possible, commands)
        factory = ours if where == "local" else factory_of(where)
        _provision(settings, pool, _at(settings, listen), limits, factory)


def _refuse_useless(where: str, *, dry_run: bool) -> None:
    if dry_run:
        refuse_given("--dry-run, which starts no instance", lambda name: name not in _ACTS)
    if dry_run and where != "kubernetes":
        refuse_given("--dry-run, which plans every pool", lambda name: name != "pool")
    if where != "local":
        refuse_given(f"--on {where}", lambda name: name not in _LOCAL)
    if where != "kubernetes":
        refuse_given(f"--on {where}", lambda name: name not in _KUBERNETES)


def _plan() -> None:
    from streams.cli import worker  # noqa: PLC0415

    click.get_current_context().invoke(worker.command, stages=("provisioner",))


def _at(settings: Settings, listen: str | None) -> Listener:
    return listener(settings, listen or settings.provisioner, "provisioner")


def _provision(
    settings: Settings,
    pool: str,
    at: Listener,
    limits: ProvisionerLimits,
    factory: Callable[..., Provisioner],
) -> None:
    # keep --help instant
    from streams.provisioners.core.elsewhere import refuse_elsewhere  # noqa: PLC0415
    from streams.provisioners.core.provisioner_process import ProvisionerProcess  # noqa: PLC0415
    from streams.provisioners.local.sole_provisioner import sole_provisioner  # noqa: PLC0415

    with sole_provisioner(pool, settings.kafka, settings.prefix):
        check = partial(refuse_elsewhere, settings, pool)
        process = ProvisionerProcess(settings, pool, limits, factory, check)
        process.watch()
        asyncio.run(until_signalled(lambda stop: process.run(at, stop)))


def _local(
    controllers: Sequence[str], limit_if_possible: bool, commands: CommandPolicy
) -> Callable[..., Provisioner]:
    from streams.provisioners.local.cgroups import CgroupLimiter  # noqa: PLC0415  # keep --help instant
    from streams.provisioners.local.provisioner import LocalProvisioner  # noqa: PLC0415

    cgroups = partial(CgroupLimiter.open, controllers, required=not limit_if_possible)
    return partial(LocalProvisioner, cgroups=cgroups, commands=commands)


def _command_policy(
    settings: Settings, allowed: Sequence[str], passed: Sequence[str]
) -> CommandPolicy:
    """What `--allow-command` says; without it, what was loaded from this directory."""
    if not allowed:
        return CommandPolicy.of((), noted=noted_at(settings.build, settings.prefix), passed=passed)
    from streams.catalog import yaml_reader  # noqa: PLC0415  # keep --help instant

    files = [one for one in allowed if one.endswith(CATALOGUES)]
    listed = [
        constituent.command
        for file in files
        for constituent in yaml_reader.load(file).constituents.values()
    ]
    patterns = [one for one in allowed if not one.endswith(CATALOGUES)]
    return CommandPolicy.of(patterns, listed, passed=passed)
