"""`foremesh gateway`: serve composites over HTTP, without Envoy."""

from __future__ import annotations

import asyncio

import click

from streams.cli import pass_settings
from streams.cli.amounts import DEADLINE_MS, QUEUE
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@click.option(
    "--pool", default="default", show_default=True, show_envvar=True, help="Name of the pool."
)
@click.option("--listen", show_envvar=True, help="host:port  [default: FOREMESH_GATEWAY's]")
@click.option(
    "--queue",
    type=QUEUE,
    default=64,
    show_default=True,
    show_envvar=True,
    help="Most requests that wait for one constituent; further ones are answered with 503.",
)
@click.option(
    "--deadline-ms",
    type=DEADLINE_MS,
    default=10_000,
    show_default=True,
    show_envvar=True,
    help="Most that a request may take, in milliseconds.",
)
@pass_settings
def command(
    settings: Settings, *, pool: str, listen: str | None, queue: int, deadline_ms: int
) -> None:
    """Serve the composites of one pool over HTTP: POST /<composite>."""
    # keep --help instant
    from streams.request_path.gateway.app import GatewayConfig, serve_gateway  # noqa: PLC0415
    from streams.runtime.access import listener  # noqa: PLC0415
    from streams.runtime.event_loop import until_signalled  # noqa: PLC0415

    config = GatewayConfig(pool=pool, queue=queue, deadline_ms=deadline_ms)
    at = listener(settings, listen or settings.gateway, "gateway")
    asyncio.run(until_signalled(lambda stop: serve_gateway(settings, config, at, stop)))
