"""A line a minute in the log of a process that is well: what it did, and how far it is behind."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from prometheus_client.metrics import MetricWrapperBase

from streams.adapters.metrics.table import (
    DECISIONS,
    INSTANCES,
    KAFKA_UP,
    LAG,
    LOG_ENTRIES,
    RECORDS,
    REQUESTS,
    ROWS,
    STARTS,
    TABLE,
)

__all__ = ["figures_of", "line", "start"]

_log = logging.getLogger(__name__)

EVERY_S = 60.0
DONE = {
    "records read": RECORDS,
    "rows written": ROWS,
    "requests": REQUESTS,
    "decisions changed": DECISIONS,
    "instances started": STARTS,
    "log entries": LOG_ENTRIES,
}
NOW = {"records behind": LAG, "instances there": INSTANCES}

Figures = Mapping[str, float]


def start(process: str, refresh: Callable[[], object], every_s: float = EVERY_S) -> threading.Event:
    """Say every minute that this process works, as long as Kafka answers it.

    Parameters
    ----------
    refresh
        Sets the metrics that are only known when asked for.

    Returns
    -------
    threading.Event
        Ends it when set.
    """

    def beat() -> None:
        before = figures_of(process)
        while not over.wait(every_s):
            try:
                refresh()
            except Exception:  # noqa: BLE001  # it may go better in a minute
                _log.exception("Figures could not be made", extra={"action": "figures"})
            after = figures_of(process)
            if _sum(KAFKA_UP):
                _log.info("%s", line(process, before, after), extra={"action": "alive"})
            before = after

    over = threading.Event()
    threading.Thread(target=beat, name="pulse", daemon=True).start()
    return over


def line(process: str, before: Figures, after: Figures) -> str:
    """What a process did between two moments, and how it stands at the later one."""
    said = [f"{after[name] - before[name]:,.0f} {name}" for name in DONE if name in after]
    said += [f"{after[name]:,.0f} {name}" for name in NOW if name in after]
    return f"{process} works: {', '.join(said) or 'Kafka answers'}"


def figures_of(process: str) -> Figures:
    """The sums of the metrics of a process that its line has."""
    exposed = {id(row.metric) for row in TABLE.of(process)}
    return {name: _sum(metric) for name, metric in {**DONE, **NOW}.items() if id(metric) in exposed}


def _sum(metric: MetricWrapperBase) -> float:
    """Over all its labels."""
    return sum(sample.value for family in metric.collect() for sample in family.samples)
