"""`foremesh keda`: report wanted instances to KEDA's autoscalers."""

from __future__ import annotations

import asyncio

import click

from streams.cli import pass_settings
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@click.option(
    "--listen", default="127.0.0.1:9091", show_default=True, show_envvar=True, help="host:port"
)
@pass_settings
def command(settings: Settings, *, listen: str) -> None:
    """Serve KEDA's external scaler for the instances that `foremesh provision --dry-run` plans."""
    from streams.provisioners.keda.scaler_process import run  # noqa: PLC0415  # keep --help instant
    from streams.runtime.event_loop import until_signalled  # noqa: PLC0415

    asyncio.run(until_signalled(lambda stop: run(settings, listen, stop)))
