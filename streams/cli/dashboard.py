"""`foremesh dashboard`: one live web page of the flow."""

from __future__ import annotations

import click

from streams.cli import pass_settings
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@click.option("--listen", show_envvar=True, help="host:port  [default: FOREMESH_DASHBOARD's]")
@click.option(
    "--catalog",
    "catalog_path",
    type=click.Path(dir_okay=False),
    show_envvar=True,
    help="Catalogue in YAML, in place of the one on Kafka: for rows of `foremesh replay`.",
)
@click.option(
    "--metrics",
    multiple=True,
    show_envvar=True,
    help="http://host:port/metrics of a process, to be asked too; may be given again.",
)
@pass_settings
def command(
    settings: Settings, *, listen: str | None, catalog_path: str | None, metrics: tuple[str, ...]
) -> None:
    """Serve a web page: what it gains, what is wrong, what is warm and why, live.

    It reads PostgreSQL, and changes only what operators change there, with the token of
    FOREMESH_DASHBOARD_TOKEN_FILE.
    """
    # keep --help instant
    from streams.catalog import yaml_reader  # noqa: PLC0415
    from streams.dashboard.app import serve_dashboard  # noqa: PLC0415
    from streams.runtime.access import listener  # noqa: PLC0415
    from streams.runtime.event_loop import run  # noqa: PLC0415

    at = listener(settings, listen or settings.dashboard, "dashboard")
    catalog = yaml_reader.load(catalog_path) if catalog_path else None
    run(lambda stop: serve_dashboard(settings, at, stop, metrics=metrics, catalog=catalog))
