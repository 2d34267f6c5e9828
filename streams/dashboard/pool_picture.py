"""The pool as a picture: each constituent's instances by state, what waits, what fits, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from streams.dashboard.database import Row
from streams.records.catalog import Catalog, Constituent, Resources

__all__ = ["ConstituentPicture", "PoolPicture", "ResourceUse", "picture"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstituentPicture:
    """The instances of a constituent, and the last decision about it."""

    service: str
    counts: Mapping[str, int]  # by state: busy, warm, starting, draining
    queued: int = 0
    room: int | None = None  # for how many more there is; None: not known
    asked_for: int = 0  # started by requests that waited
    why: str = ""
    command_id: str = ""

    @property
    def there(self) -> int:
        """Instances in any state."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """Capacity and use of a resource."""

    name: str
    used: float
    capacity: float
    unit: str

    @property
    def percent(self) -> float | None:
        """The part in use; None where there is none to use."""
        return 100 * self.used / self.capacity if self.capacity else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPicture:
    """All constituents of a pool, and its resources."""

    constituents: Sequence[ConstituentPicture]
    resources: Sequence[ResourceUse] = ()
    cold: Sequence[str] = ()  # constituents that have no instance, and wait for none
    totals: Mapping[str, int] = field(default_factory=dict)  # by state


def picture(
    states: Iterable[Row],
    waiting: Iterable[Row],
    grounds: Iterable[Row],
    capacity: Row | None,
    catalog: Catalog,
) -> PoolPicture:
    """The picture of rows of the queries `states`, `waiting`, `grounds` and `capacity`."""
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    asked_for: defaultdict[str, int] = defaultdict(int)
    for row in states:
        counts[row["service"]][row["state"]] = row["instances"]
        asked_for[row["service"]] += row["asked_for"]
    queued = {row["service"]: row["count"] for row in waiting}
    verdicts = {row["service"]: row for row in grounds}
    free = _free(capacity)
    made = [
        ConstituentPicture(
            service=name,
            counts=counts.get(name, {}),
            queued=queued.get(name, 0),
            room=_room(catalog.constituents.get(name), free),
            asked_for=asked_for.get(name, 0),
            why=_why(verdicts[name]) if name in verdicts else "",
            command_id=verdicts[name]["command_id"] if name in verdicts else "",
        )
        for name in counts.keys() | queued.keys()
    ]
    shown = {one.service for one in made}
    return PoolPicture(
        constituents=sorted(made, key=lambda one: (-_cost(one, catalog), one.service)),
        resources=_resources(capacity),
        cold=sorted(catalog.constituents.keys() - shown),
        totals=_totals(made),
    )


def _cost(one: ConstituentPicture, catalog: Catalog) -> float:
    """What its instances, and those that are wanted, cost in an hour."""
    entry = catalog.constituents.get(one.service)
    return (one.there + one.queued) * (entry.price if entry else 1.0)


def _totals(made: Iterable[ConstituentPicture]) -> dict[str, int]:
    totals = dict.fromkeys(("busy", "warm", "starting", "draining", "queued"), 0)
    for one in made:
        totals["queued"] += one.queued
        for state, count in one.counts.items():
            totals[state] += count
    return totals


def _free(capacity: Row | None) -> Resources | None:
    if capacity is None:
        return None
    names = ("cpu", "memory", "bandwidth")
    return Resources(**{n: capacity[f"{n}_capacity"] - capacity[f"{n}_used"] for n in names})


def _room(entry: Constituent | None, free: Resources | None) -> int | None:
    if entry is None or free is None:
        return None
    pairs = (
        (entry.needs.cpu, free.cpu),
        (entry.needs.memory, free.memory),
        (entry.needs.bandwidth, free.bandwidth),
    )
    fits = [int(max(0.0, left) // need) for need, left in pairs if need > 0]
    return min(fits, default=None)


def _resources(capacity: Row | None) -> list[ResourceUse]:
    if capacity is None:
        return []
    units = (("cpu", "cores", 1000), ("memory", "GiB", 1024), ("bandwidth", "Mbit/s", 1))
    return [
        ResourceUse(name, capacity[f"{name}_used"] / by, capacity[f"{name}_capacity"] / by, unit)
        for name, unit, by in units
        if capacity[f"{name}_capacity"]
    ]


def _why(row: Row) -> str:
    """The last decision in a few words."""
    if row["bound"] == "pin":
        return "pinned by an operator"
    weighed = f"worth {row['value']:.2g}, costs {row['cost']:.2g}"
    seconds = row["horizon_ms"] / 1000
    chance = f"{100 * row['chance']:.0f} % chance in {seconds:g} s"
    match row["choice"]:
        case "queue":
            return f"one more is wanted, {row['bound']} is short: {weighed}"
        case "start":
            return f"one more: {chance}; {weighed}"
        case "release":
            return f"idle ones go: {weighed}"
        case "keep":
            return f"kept: {chance}; {weighed}"
    return f"none: {weighed}"
