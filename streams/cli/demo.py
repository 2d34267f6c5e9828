"""`foremesh demo`: send the requests of synthetic users to a real stack."""

from __future__ import annotations

import signal
import sys

import click

from streams.cli import INTERRUPTED, pass_settings
from streams.cli.amounts import AmountParam
from streams.cli.console import PrintableConsole
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@click.option(
    "--users",
    type=click.IntRange(1),
    default=180,
    show_default=True,
    show_envvar=True,
    help="Synthetic users.",
)
@click.option(
    "--styles",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    show_envvar=True,
    help="Styles of the studio.",
)
@click.option(
    "--past",
    "past_s",
    type=AmountParam(min=0),
    default=600.0,
    show_default=True,
    show_envvar=True,
    help="Seconds of requests that are learnt before.",
)
@click.option(
    "--seconds",
    type=AmountParam(min=0, min_open=True),
    default=40.0,
    show_default=True,
    show_envvar=True,
    help="Length of each of the three.",
)
@click.option("--seed", default=7, show_default=True, show_envvar=True, help="Decides the load.")
@click.option("--keep", is_flag=True, show_envvar=True, help="Leave Kafka and PostgreSQL running.")
@pass_settings
def command(
    settings: Settings,
    *,
    users: int,
    styles: int,
    past_s: float,
    seconds: float,
    seed: int,
    keep: bool,
) -> None:
    """Play a synthetic population over real HTTP: with foremesh, with a keep-alive, with neither.

    The keep-alive spends on warm instances what foremesh spent. Kafka, PostgreSQL, Envoy, workers
    and instances are real and started for it; everything is stopped at the end.
    """
    from streams.demo.run import DemoPlan, DemoRun  # noqa: PLC0415  # keep --help instant

    plan = DemoPlan(
        users=users, styles=styles, past_s=past_s, seconds=seconds, seed=seed, keep=keep
    )
    console = PrintableConsole()
    demo = DemoRun(plan, settings, console)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, demo.processes.interrupt)
    try:
        demo.run()
    except KeyboardInterrupt:
        console.print("Interrupted; everything that was started is stopped.")
        sys.exit(INTERRUPTED)
