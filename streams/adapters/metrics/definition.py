"""How a metric is defined: once, with the processes that expose it and the values of its labels."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase

__all__ = ["OTHER", "PROCESSES", "BoundedNames", "MetricRow", "MetricTable", "Values"]

# As they are called: `foremesh <process>`.
PROCESSES = (
    *("worker", "sink", "provision", "gateway"),
    *("mesh control", "mesh decide", "mesh activate", "mesh log", "mesh compose", "keda"),
)
OTHER = "other"  # label value of all names beyond the most
M = TypeVar("M", bound=MetricWrapperBase)
Values = str | Sequence[str]  # of a label: what it names, or all values that it may have

disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the series and nothing asks for them


class BoundedNames:
    """The values of a label that names things of the catalogue: the first ones, and `OTHER`.

    Parameters
    ----------
    most
        Names that have a series of their own.

    Examples
    --------
    >>> name = BoundedNames(1)
    >>> name("base"), name("upscale"), name("base")
    ('base', 'other', 'base')
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        """The label's value for a name."""
        known = self._known.get(name)
        if known is not None:
            return known
        if len(self._known) >= self._most:
            return OTHER
        self._known[name] = name
        return name


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """One metric as it is defined."""

    name: str
    kind: str  # counter, gauge or histogram
    about: str
    labels: Mapping[str, Values]
    on: tuple[str, ...]  # the processes that expose it
    metric: MetricWrapperBase = field(repr=False)


class MetricTable:
    """All metrics by name; each is defined by one call, which gives what to count with."""

    def __init__(self) -> None:
        self.rows: dict[str, MetricRow] = {}

    def counter(self, name: str, about: str, *, on: Iterable[str], **labels: Values) -> Counter:
        """Define what only grows; its name ends with `_total`."""
        return self._define(
            "counter", Counter(name, about, list(labels), registry=None), on, labels
        )

    def gauge(self, name: str, about: str, *, on: Iterable[str], **labels: Values) -> Gauge:
        """Define what goes up and down."""
        return self._define("gauge", Gauge(name, about, list(labels), registry=None), on, labels)

    def histogram(
        self,
        name: str,
        about: str,
        *,
        on: Iterable[str],
        buckets: Sequence[float],
        **labels: Values,
    ) -> Histogram:
        """Define a distribution."""
        made = Histogram(name, about, list(labels), buckets=buckets, registry=None)
        return self._define("histogram", made, on, labels)

    def of(self, process: str) -> list[MetricRow]:
        """What a process exposes."""
        return [row for row in self.rows.values() if process in row.on]

    def _define(self, kind: str, metric: M, on: Iterable[str], labels: Mapping[str, Values]) -> M:
        [described] = metric.describe()
        name = described.name + ("_total" if kind == "counter" else "")
        processes = tuple(on)
        if unknown := set(processes) - set(PROCESSES):
            raise ValueError(f"{name} is exposed by what is no process: {unknown}")
        if name in self.rows:
            raise ValueError(f"{name} is defined twice")
        self.rows[name] = MetricRow(
            name=name,
            kind=kind,
            about=described.documentation,
            labels=labels,
            on=processes,
            metric=metric,
        )
        _begin(metric, labels)
        return metric


def _begin(metric: Any, labels: Mapping[str, Values]) -> None:
    """Have every series from the start where all are known: a rate needs the 0 before the 1."""
    values = [() if isinstance(value, str) else value for value in labels.values()]
    if labels:
        for combination in itertools.product(*values):
            metric.labels(*combination)
