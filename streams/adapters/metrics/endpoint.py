"""Where Prometheus scrapes a process."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from streams.adapters.metrics import pulse
from streams.adapters.metrics.scrape_server import ScrapeServer
from streams.adapters.metrics.table import BUILD_INFO, TABLE
from streams.errors import SettingInvalid

__all__ = ["before_scrape", "registry", "serve"]


class _ScrapeHooks(Collector):
    """Sets what is only known when asked for; registered before what it sets."""

    def __init__(self) -> None:
        self.hooks: list[Callable[[], None]] = []
        self._one_at_a_time = threading.Lock()  # two would both add what a sum has grown

    def describe(self) -> list[Metric]:
        """Nothing of its own."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Nothing of its own, once the hooks have run."""
        with self._one_at_a_time:
            for hook in tuple(self.hooks):
                hook()
        return iter(())


_HOOKS = _ScrapeHooks()


def before_scrape(hook: Callable[[], None]) -> None:
    """Call this whenever Prometheus asks, in a thread of its own: it sets metrics, and is quick."""
    _HOOKS.hooks.append(hook)


def registry(process: str) -> CollectorRegistry:
    """What a process exposes: its rows of the table, and what is said of any process."""
    found = CollectorRegistry()
    found.register(_HOOKS)
    for row in TABLE.of(process):
        found.register(row.metric)
    ProcessCollector(registry=found)
    PlatformCollector(registry=found)
    GCCollector(registry=found)
    BUILD_INFO.labels(version("foremesh"), platform.python_version()).set(1)
    return found


def serve(process: str, port: int, host: str, *, ready: Callable[[], bool] = lambda: True) -> None:
    """Serve the metrics of this process at `http://<host>:<port>/metrics`; port 0: do not.

    Anyone who reaches the host can read them. A line of the log says every minute that it works.

    Parameters
    ----------
    ready
        What `/ready` answers: 200, or 503 while this is false.

    Raises
    ------
    SettingInvalid
        The port is taken, or the host is not one of this machine.
    """
    pulse.start(process, _HOOKS.collect)
    if not port:
        return
    try:
        server = ScrapeServer((host, port), registry(process), ready)
    except (OSError, OverflowError) as error:
        raise SettingInvalid(
            f"FOREMESH_METRICS_PORT={port} cannot be listened on at FOREMESH_METRICS_HOST={host}:"
            f" {getattr(error, 'strerror', error)}"
        ) from None
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
