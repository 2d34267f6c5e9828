"""What a provisioner did, for Prometheus: counted from the records of its instances."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import TypeVar

from prometheus_client import Gauge

from streams.adapters.metrics import table
from streams.records import Command, Instance, InstanceState, Utilisation
from streams.records.catalog import Catalog, Resources
from streams.records.instances import ON_REQUEST

__all__ = ["InstanceFigures", "failure_of", "tell_room", "what_was_done"]

T = TypeVar("T")

_REMEMBERED = 10_000  # commands, and instances that are gone or warm
_HOUR_S = 3600.0
_CORE, _MIB, _MBIT_S = 1000, 1 << 20, 125_000  # of millicores; in bytes
_ALIVE = tuple(state for state in InstanceState if state is not InstanceState.GONE)
# What is in the reason of a start that failed; the first that is found.
_FAILURES = {
    "not allowed": "not_allowed",
    "limit": "limits",
    " within ": "timeout",
    "in time": "timeout",
    "cannot": "not_startable",
    "no command": "not_startable",
    "no Deployment": "not_startable",
}
# How the sentence about a command begins; the first that it begins with.
_DONE = {
    "starts 0 ": "no_room",
    "starts ": "started",
    "keeps ": "kept",
    "ends ": "ended",
    "expired ": "expired",
    "is dropped": "backed_off",
    "was carried out before": "repeated",
}


def failure_of(reason: str) -> str:
    """The cause of a failed start, of few, by the reason in words."""
    return next((cause for words, cause in _FAILURES.items() if words in reason), "exited")


def what_was_done(result: str) -> str:
    """What was done about a command, of few, by the sentence about it."""
    return next((did for words, did in _DONE.items() if result.startswith(words)), "ignored")


class InstanceFigures:
    """Counts what becomes of the instances of a pool, and what they cost.

    Parameters
    ----------
    instances
        Those that are not gone.
    catalog
        The current catalogue.
    """

    def __init__(
        self, instances: Callable[[], Iterable[Instance]], catalog: Callable[[], Catalog]
    ) -> None:
        self._instances, self._catalog = instances, catalog
        self._issued = OrderedDict[str, int]()  # when commands were, by id
        self._told = OrderedDict[str, None]()  # ids of instances, with what was counted of them
        self._served = dict[str, int]()  # milliseconds counted, by instance
        self._named = set[str]()  # constituents that have series
        self._until_ms = 0

    def begin(self, known: Iterable[Instance]) -> None:
        """Take what instances of an earlier provisioner have served for counted, by that one."""
        self._served.update((one.instance_id, one.busy_ms) for one in known)

    def commanded(self, command: Command, result: str) -> None:
        """Count a command that was read."""
        _remember(self._issued, command.command_id, command.issued_ms)
        table.CARRIED_OUT.labels(what_was_done(result)).inc()

    def changed(self, instance: Instance) -> None:
        """Count what a record of an instance says anew."""
        if instance.state is InstanceState.GONE:
            if self._is_new(instance, "gone"):
                self._count_end(instance)
            return
        self._count_served(instance)
        if instance.changed_ms == instance.warm_since_ms and self._is_new(instance, "warm"):
            self._count_start(instance, instance.changed_ms)

    def pass_time(self, now_ms: int) -> None:
        """Count the time since the last call, and what instances have cost in it."""
        passed_s = (now_ms - self._until_ms) / 1000 if self._until_ms else 0.0
        self._until_ms = now_ms
        known, times = self._catalog().constituents, Counter[tuple[str, InstanceState]]()
        for instance in self._instances():
            self._count_served(instance)
            times[instance.service, instance.state] += 1
        for (service, state), count in times.items():
            label = table.CONSTITUENTS(service)
            table.INSTANCE_SECONDS.labels(label, state).inc(count * max(0.0, passed_s))
            if state is not InstanceState.STARTING and service in known:
                hours = count * max(0.0, passed_s) / _HOUR_S
                table.COST.labels(label).inc(hours * known[service].price)

    def tell(self) -> None:
        """Set how many instances there are, and begin the series of constituents at 0."""
        for name in self._catalog().constituents:
            _begin(table.CONSTITUENTS(name))
        counts = Counter((table.CONSTITUENTS(i.service), i.state) for i in self._instances())
        self._named |= {label for label, _ in counts}
        for label in self._named:
            for state in _ALIVE:
                table.INSTANCES.labels(label, state).set(counts[label, state])

    def _count_served(self, instance: Instance) -> None:
        more_ms = instance.busy_ms - self._served.get(instance.instance_id, 0)
        if more_ms > 0:
            self._served[instance.instance_id] = instance.busy_ms
            table.SERVING_SECONDS.labels(table.CONSTITUENTS(instance.service)).inc(more_ms / 1000)

    def _count_start(self, instance: Instance, warm_ms: int) -> None:
        label = table.CONSTITUENTS(instance.service)
        cause = "request" if instance.command_id.startswith(ON_REQUEST) else "command"
        table.STARTS.labels(label, cause).inc()
        table.START_SECONDS.labels(label).observe((warm_ms - instance.started_ms) / 1000)
        issued_ms = self._issued.get(instance.command_id)
        if issued_ms is not None:
            table.EVENT_TO_WARM_SECONDS.observe((warm_ms - issued_ms) / 1000)

    def _count_end(self, instance: Instance) -> None:
        self._count_served(instance)
        self._served.pop(instance.instance_id, None)
        if instance.reason.startswith("crashed"):
            self._count_crash(instance)

    def _count_crash(self, instance: Instance) -> None:
        label = table.CONSTITUENTS(instance.service)
        if instance.warm_since_ms is None:
            table.START_FAILURES.labels(label, failure_of(instance.reason)).inc()
        else:
            table.CRASHES.labels(label).inc()

    def _is_new(self, instance: Instance, what: str) -> bool:
        """Whether this is told for the first time: records may be published again."""
        key = f"{what} {instance.instance_id}"
        if key in self._told:
            return False
        _remember(self._told, key, None)
        return True


def _begin(constituent: str) -> None:
    """A rate needs the 0 before the first start, and before the first that fails."""
    table.CRASHES.labels(constituent)
    for cause in ("command", "request"):
        table.STARTS.labels(constituent, cause)
    for cause in table.FAILURES:
        table.START_FAILURES.labels(constituent, cause)


def tell_room(utilisation: Utilisation) -> None:
    """Set capacity and use of the pool."""
    _tell(utilisation.capacity, table.CAPACITY_CPU, table.CAPACITY_MEMORY, table.CAPACITY_BANDWIDTH)
    _tell(utilisation.used, table.USED_CPU, table.USED_MEMORY, table.USED_BANDWIDTH)


def _tell(resources: Resources, cpu: Gauge, memory: Gauge, bandwidth: Gauge) -> None:
    cpu.set(resources.cpu / _CORE)
    memory.set(resources.memory * _MIB)
    bandwidth.set(resources.bandwidth * _MBIT_S)


def _remember(kept: OrderedDict[str, T], key: str, value: T) -> None:
    kept[key] = value
    if len(kept) > _REMEMBERED:
        kept.popitem(last=False)
