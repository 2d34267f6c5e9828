"""`foremesh sink`: write the records on Kafka to PostgreSQL."""

from __future__ import annotations

import signal

import click

from streams.cli import pass_settings
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@click.option(
    "--metrics-port",
    type=int,
    show_envvar=True,
    help="Port of the Prometheus endpoint; 0 for none.",
)
@pass_settings
def command(settings: Settings, metrics_port: int | None) -> None:
    """Write the records on Kafka to PostgreSQL, until stopped.

    Without PostgreSQL, or without its tables, it waits and says for what. At the port of its metrics
    /ready answers 200 while it writes and 503 while it waits.
    """
    from streams.adapters.kafka.broker_watch import BrokerWatch  # noqa: PLC0415
    from streams.adapters.kafka.clients import connect  # noqa: PLC0415
    from streams.adapters.metrics import endpoint  # noqa: PLC0415  # keep --help instant
    from streams.pipeline.sink import RecordSink  # noqa: PLC0415

    BrokerWatch(settings).start()
    connect(settings)
    sink = RecordSink(settings)
    port = settings.metrics_port if metrics_port is None else metrics_port
    endpoint.serve("sink", port, settings.metrics_host, ready=lambda: sink.writes)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sink.stop())
    sink.wait_for_schema()
    sink.run()
