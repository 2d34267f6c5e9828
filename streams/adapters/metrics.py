"""Prometheus metrics, their labels and buckets, and the endpoint."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from streams.errors import SettingInvalid

__all__ = [
    "BATCH_SECONDS",
    "FAILED_TICKS",
    "LAG",
    "RECORDS",
    "REQUESTS",
    "REQUEST_SECONDS",
    "serve",
]

RECORDS = Counter(
    "foremesh_records_total",
    "Records that a stage has read, by what became of them (done, dead, failed, repeated).",
    ["stage", "topic", "outcome"],
)
FAILED_TICKS = Counter(
    "foremesh_failed_ticks_total",
    "Ticks of a stage that have failed, one for each pool: it is decided on again at the next tick.",
    ["stage", "partition"],
)
BATCH_SECONDS = Histogram(
    "foremesh_batch_seconds",
    "Time a batch took from being read to being acknowledged.",
    ["stage"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
LAG = Gauge(
    "foremesh_lag",
    "Records of a partition of a stage's input that are not handled yet.",
    ["stage", "partition"],
)
REQUESTS = Counter(
    "foremesh_requests_total",
    "Requests that the gateway has answered.",
    ["result", "route"],
)
KAFKA_UP = Gauge("foremesh_kafka_up", "Whether a Kafka broker answers: 1 or 0.")
REQUEST_SECONDS = Histogram(
    "foremesh_request_seconds",
    "Time a request took, from its first byte to the last one answered.",
    ["result"],
    # From a hit, some milliseconds, to a cold start, up to a minute.
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60),
)


def serve(port: int, host: str) -> None:
    """Serve the metrics of this process at `http://<host>:<port>/metrics`; 0: do not.

    Anyone who reaches the host can read them.

    Raises
    ------
    SettingInvalid
        The port is taken, or the host is not one of this machine.
    """
    if not port:
        return
    try:
        start_http_server(port, addr=host)
    except (OSError, OverflowError) as error:
        raise SettingInvalid(
            f"FOREMESH_METRICS_PORT={port} cannot be listened on at FOREMESH_METRICS_HOST={host}:"
            f" {getattr(error, 'strerror', error)}"
        ) from None
