"""`foremesh worker`: run stages until stopped."""

from __future__ import annotations

import click

from streams.cli import pass_settings
from streams.flow.topology import STAGES
from streams.settings import Settings

__all__ = ["command"]


@click.command(help="Run the stages named, or all that are not optional, until stopped.")
@click.argument("stages", nargs=-1, type=click.Choice(list(STAGES)))
@click.option(
    "--metrics-port",
    type=int,
    show_envvar=True,
    help="Port of the Prometheus endpoint on loopback; 0 for none.",
)
@pass_settings
def command(settings: Settings, stages: tuple[str, ...], metrics_port: int | None) -> None:
    """Run the stages in this process."""
    from streams.adapters import metrics  # noqa: PLC0415  # Faust loads slowly
    from streams.engine.faust.app import run  # noqa: PLC0415
    from streams.pipeline.assembly import stages_of  # noqa: PLC0415
    from streams.pipeline.worker import create_app, stage_names  # noqa: PLC0415

    stages_by_name = stages_of(settings)
    app = create_app(settings, {name: stages_by_name[name] for name in stage_names(stages)})
    metrics.serve(settings.metrics_port if metrics_port is None else metrics_port)
    run(app)
