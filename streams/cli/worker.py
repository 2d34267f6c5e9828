"""`foremesh worker`: run stages until stopped."""

from __future__ import annotations

import os
import signal

import click

from streams.cli import pass_settings
from streams.cli.console import echo
from streams.flow.topology import STAGES
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@click.argument("stages", nargs=-1, type=click.Choice(list(STAGES)))
@click.option(
    "--metrics-port",
    type=int,
    show_envvar=True,
    help="Port of the Prometheus endpoint; 0 for none.",
)
@click.option(
    "--rebuild",
    is_flag=True,
    show_envvar=True,
    help="Where the state of a stage is gone or cannot be read, learn it again from all that is still"
    " on its topics.",
)
@pass_settings
def command(
    settings: Settings, *, stages: tuple[str, ...], metrics_port: int | None, rebuild: bool
) -> None:
    """Run the stages named, or all that are not optional, until stopped.

    With FOREMESH_CLOCK=event and no names it is for recorded logs: all stages, the simulated
    provisioner included, take the requests one by one in the order of the log, and come to what
    `foremesh replay` does, however fast the log was produced. Of two such workers the later one
    goes on. Stages that are named do not wait for those of other workers.
    """
    from streams.adapters.kafka.broker_watch import GOES_ON, BrokerWatch  # noqa: PLC0415
    from streams.adapters.metrics import endpoint  # noqa: PLC0415  # Faust loads slowly

    port = settings.metrics_port if metrics_port is None else metrics_port
    endpoint.serve("worker", port, settings.metrics_host)
    in_event_time = settings.clock == "event" and set(stages) in (set(), set(STAGES))
    BrokerWatch(
        settings,
        changed=lambda: os.kill(os.getpid(), signal.SIGTERM),
        meanwhile=GOES_ON if in_event_time else _patience(settings),
    ).start()
    if rebuild:
        _rebuild(settings, stages or tuple(STAGES))
    if in_event_time:
        _run_in_event_time(settings)
    else:
        _run_apart(settings, stages)


def _patience(settings: Settings) -> str:
    from streams.engine.stage_runner import TRIES  # noqa: PLC0415

    return (
        f"after {TRIES * settings.delivery_ms / 1000:g} s without it the worker ends, which loses"
        " nothing: start it again"
    )


def _rebuild(settings: Settings, stages: tuple[str, ...]) -> None:
    from streams.pipeline.rebuild import rebuild  # noqa: PLC0415

    for name in stages:
        if count := rebuild(settings, name):
            echo(f"{name} has lost state: it takes {count:,} records again to learn it", err=True)


def _run_in_event_time(settings: Settings) -> None:
    from streams.pipeline.event_time.flow import EventTimeFlow  # noqa: PLC0415

    flow = EventTimeFlow(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: flow.stop())
    flow.run()


def _run_apart(settings: Settings, stages: tuple[str, ...]) -> None:
    from streams.engine.faust.app import run  # noqa: PLC0415
    from streams.pipeline.assembly import stages_of  # noqa: PLC0415
    from streams.pipeline.worker import create_app, stage_names  # noqa: PLC0415

    stages_by_name = stages_of(settings)
    app = create_app(settings, {name: stages_by_name[name] for name in stage_names(stages)})
    run(app)
