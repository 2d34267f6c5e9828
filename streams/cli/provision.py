"""`foremesh provision`: start and end instances as commanded."""

from __future__ import annotations

import asyncio

import click

from streams.cli import pass_settings
from streams.provisioners.base import Limits
from streams.provisioners.running import until_signalled
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@click.option("--pool", default="default", show_default=True, show_envvar=True, help="Its pool.")
@click.option("--listen", show_envvar=True, help="host:port  [default: FOREMESH_PROVISIONER's]")
@click.option(
    "--starts", default=2, show_default=True, show_envvar=True, help="Most starts at once."
)
@click.option(
    "--keep-alive",
    default=600.0,
    show_default=True,
    show_envvar=True,
    help="Seconds after which an instance ends that nobody used or commanded.",
)
@click.option(
    "--dry-run", is_flag=True, show_envvar=True, help="Start nothing; say what would have been."
)
@pass_settings
def command(
    settings: Settings,
    *,
    pool: str,
    listen: str | None,
    starts: int,
    keep_alive: float,
    dry_run: bool,
) -> None:
    """Start and end instances of one pool as commanded, as processes of this machine."""
    if dry_run:
        from streams.cli import worker  # noqa: PLC0415

        click.get_current_context().invoke(worker.command, stages=("provisioner",))
        return
    from streams.provisioners.service import Service  # noqa: PLC0415  # keep --help instant

    limits = Limits(starts=starts, keep_alive_ms=round(keep_alive * 1000))
    service = Service(settings, pool, limits)
    asyncio.run(until_signalled(lambda stop: service.run(listen or settings.provisioner, stop)))
