"""The catalogue: constituents and their needs, composites, tiers of users, pools of resources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

__all__ = [
    "MOST_NAME",
    "Catalog",
    "CatalogEntry",
    "Composite",
    "Constituent",
    "Pool",
    "Resources",
    "Tier",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """An amount of each scarce resource."""

    cpu: float = 0.0  # millicores
    memory: float = 0.0  # MiB
    bandwidth: float = 0.0  # Mbit/s

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            cpu=self.cpu + other.cpu,
            memory=self.memory + other.memory,
            bandwidth=self.bandwidth + other.bandwidth,
        )

    def __sub__(self, other: Resources) -> Resources:
        return Resources(
            cpu=self.cpu - other.cpu,
            memory=self.memory - other.memory,
            bandwidth=self.bandwidth - other.bandwidth,
        )

    def times(self, n: float) -> Resources:
        """These resources, `n` times."""
        return Resources(cpu=self.cpu * n, memory=self.memory * n, bandwidth=self.bandwidth * n)

    def fits(self, free: Resources) -> bool:
        """Whether these resources are there in `free`, each of them."""
        return (
            self.cpu <= free.cpu and self.memory <= free.memory and self.bandwidth <= free.bandwidth
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Constituent:
    """A service of which instances are started (ServiceRequirements)."""

    service: str
    needs: Resources  # of one instance
    warm_up_ms: int  # spawn to first answered request, until measured
    price: float  # of one warm instance for an hour
    concurrency: int = 1  # requests one instance serves at once; 1 is exclusive
    command: tuple[str, ...] = ()  # local provisioner: argv; PORT is in its environment
    health: str = "/healthz"  # path that answers 200 when ready
    warm_up: str = ""  # local provisioner: path to ask once more before it counts as warm
    warm_up_body: str = ""  # JSON to post there; without one it is a GET
    base: str = ""  # constituent that it is started from; `warm_up_ms` counts from a warm base

    @property
    def at_once(self) -> int:
        """Requests that one instance serves at once: one at least, whatever a topic says."""
        return max(1, self.concurrency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """A service that users ask for: constituents, in steps; those of a step run in parallel."""

    service: str
    steps: tuple[tuple[str, ...], ...]
    logged: tuple[str, ...] = ()  # the only parameters that the access log may keep
    idempotent: bool = False  # a request may be served twice, whatever its method

    @property
    def constituents(self) -> tuple[str, ...]:
        """Each constituent once, in order of first use."""
        return tuple(dict.fromkeys(name for step in self.steps for name in step))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A class of users."""

    tier: str
    weight: float  # value of a second not waited, in the unit of the prices
    sla_ms: int  # latency promised
    priority: int = 0  # higher is served first; may take a lower one's idle instance
    quota: float = 1.0  # largest share of each resource of a pool for its warm instances


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Resources that instances run on."""

    pool: str
    capacity: Resources
    budget: float = float("inf")  # most that warm instances may cost in an hour
    # Whether a request's tier is what its header says: a proxy in front must set or remove it.
    trust_tier_header: bool = False


CatalogEntry = Constituent | Composite | Tier | Pool

MOST = 1e15  # of an amount: sums and products stay finite
MOST_PARTS = 64 * 64  # of a composite
MOST_NAME = 256  # characters


@dataclass(frozen=True, slots=True)
class Catalog:
    """All entries of the catalogue, by kind and name."""

    constituents: Mapping[str, Constituent] = field(default_factory=dict)
    composites: Mapping[str, Composite] = field(default_factory=dict)
    tiers: Mapping[str, Tier] = field(default_factory=dict)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    # Constituents that others are started from; no request calls them.
    bases: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        bases = frozenset(c.base for c in self.constituents.values() if c.base)
        object.__setattr__(self, "bases", bases)

    @classmethod
    def of(cls, entries: Iterable[CatalogEntry]) -> Catalog:
        """The catalogue of these entries; of two of a name the later one holds.

        They may come from anyone who writes to the topic. Those that no plan can be made with
        are left out; and a constituent starts from nothing if its base starts from another: so
        layers are one deep, and none is its own base.
        """
        constituents: dict[str, Constituent] = {}
        composites: dict[str, Composite] = {}
        tiers: dict[str, Tier] = {}
        pools: dict[str, Pool] = {}
        for entry in filter(_sound, entries):
            match entry:
                case Constituent():
                    constituents[entry.service] = entry
                case Composite():
                    composites[entry.service] = entry
                case Tier():
                    tiers[entry.tier] = entry
                case Pool():
                    pools[entry.pool] = entry
        return cls(_one_deep(constituents), composites, tiers, pools)

    def __iter__(self) -> Iterator[CatalogEntry]:
        for kind in (self.constituents, self.composites, self.tiers, self.pools):
            yield from kind.values()

    def needs_of(self, constituents: Iterable[str]) -> Resources:
        """What an instance of each of these takes together; one that is not known takes nothing."""
        cpu = memory = bandwidth = 0.0
        for name in constituents:
            if known := self.constituents.get(name):
                cpu += known.needs.cpu
                memory += known.needs.memory
                bandwidth += known.needs.bandwidth
        return Resources(cpu=cpu, memory=memory, bandwidth=bandwidth)

    def knows(self, service: str) -> bool:
        """Whether users may ask for `service`; a catalogue without composites admits all."""
        return not self.composites or service in self.composites

    def serves(self, pool: str) -> bool:
        """Whether requests may name `pool`; a catalogue without pools admits all."""
        return not self.pools or pool in self.pools

    def lacks_pool(self, pool: str) -> str:
        """That it does not have `pool`, in a sentence; empty if it has."""
        if pool in self.pools:
            return ""
        there = f"but {', '.join(sorted(self.pools))}" if self.pools else "nor any other"
        return f"The catalogue has no pool {pool!r}, {there}: until it has, nothing starts there"

    def trusts_tier_header(self, pool: str) -> bool:
        """Whether the tier of a request to this pool is what its header says."""
        found = self.pools.get(pool)
        return found is not None and found.trust_tier_header

    def tier_of(self, tier: str) -> str:
        """The tier of this name; "" stands for all that the catalogue does not have."""
        return tier if not self.tiers or tier in self.tiers else ""


def _sound(entry: CatalogEntry) -> bool:
    """Whether the numbers of an entry are finite, not negative and not out of all reason."""
    match entry:
        case Constituent(service=name):
            amounts = (*_amounts(entry.needs), entry.price, entry.warm_up_ms, entry.concurrency)
        case Composite(service=name):
            amounts = ()
            if sum(map(len, entry.steps)) > MOST_PARTS:
                return False
        case Tier(tier=name):
            amounts = (entry.weight, entry.sla_ms, entry.quota, abs(entry.priority))
        case Pool(pool=name):
            if not entry.budget >= 0:
                return False
            amounts = _amounts(entry.capacity)
        case _:
            return False
    return 0 < len(name) <= MOST_NAME and all(0 <= amount <= MOST for amount in amounts)


def _amounts(resources: Resources) -> tuple[float, ...]:
    return resources.cpu, resources.memory, resources.bandwidth


def _one_deep(constituents: dict[str, Constituent]) -> dict[str, Constituent]:
    """The constituents, without bases that have a base."""
    based = {name for name, entry in constituents.items() if entry.base in constituents}
    return {
        name: replace(entry, base="") if entry.base in based else entry
        for name, entry in constituents.items()
    }
