"""`foremesh demo`: send the requests of synthetic users to a real stack."""

from __future__ import annotations

import signal
import sys

import click
from rich.console import Console

from streams.cli import pass_settings
from streams.settings import Settings

__all__ = ["command"]

INTERRUPTED = 130  # exit code of shells after SIGINT


@click.command()
@click.option("--users", default=300, show_default=True, show_envvar=True, help="Synthetic users.")
@click.option(
    "--seconds", default=45.0, show_default=True, show_envvar=True, help="Length of each half."
)
@click.option("--rate", default=2.0, show_default=True, show_envvar=True, help="Requests a second.")
@click.option("--seed", default=7, show_default=True, show_envvar=True, help="Decides the load.")
@click.option(
    "--control-keep-alive",
    default=5.0,
    show_default=True,
    show_envvar=True,
    help="Seconds that the control keeps an idle instance.",
)
@click.option("--keep", is_flag=True, show_envvar=True, help="Leave Kafka and PostgreSQL running.")
@pass_settings
def command(
    settings: Settings,
    *,
    users: int,
    seconds: float,
    rate: float,
    seed: int,
    control_keep_alive: float,
    keep: bool,
) -> None:
    """Play a synthetic population over real HTTP, without and with pre-allocation.

    Kafka, PostgreSQL, Envoy, workers and instances are real and started for it; everything is
    stopped at the end.
    """
    from streams.demo.run import DemoPlan, DemoRun  # noqa: PLC0415  # keep --help instant

    plan = DemoPlan(
        users=users,
        seconds=seconds,
        seed=seed,
        rate=rate,
        keep_alive_s=control_keep_alive,
        keep=keep,
    )
    console = Console()
    demo = DemoRun(plan, settings, console)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, demo.processes.interrupt)
    try:
        demo.run()
    except KeyboardInterrupt:
        console.print("Interrupted; everything that was started is stopped.")
        sys.exit(INTERRUPTED)
