"""Which warm instances are free, and who has which: one event loop, so every claim is atomic.

An exclusive instance is never given twice; one of concurrency n serves at most n requests. One
process claims the instances of a constituent in a pool: another may take over where it ended, for
what `instances` calls busy, and was not claimed here, is left alone.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from streams.provisioners.core.interface import InstanceUse
from streams.records import Instance, InstanceState
from streams.request_path.core.start_up_times import StartUpTimes

__all__ = ["ClaimableInstance", "InstanceClaims"]

_SERVING = {InstanceState.WARM, InstanceState.BUSY}
_REMEMBERED = 10_000  # instances that are known to have ended


@dataclass(slots=True, eq=False)
class ClaimableInstance:
    """An instance as the gateway sees it: what it serves, and what was not reported yet."""

    instance: Instance
    in_flight: int = 0
    uses: int = 0
    busy_ms: int = 0
    over: bool = False  # to be given to nobody any more
    ours: bool = False  # claimed here since it was last told free: what says busy echoes us


class InstanceClaims:
    """The warm set of a pool.

    Parameters
    ----------
    pool
        Instances of other pools are none of ours.
    concurrency
        How many requests an instance of a constituent serves at once.
    """

    def __init__(self, pool: str, concurrency: Callable[[str], int]) -> None:
        self.pool = pool
        self._concurrency = concurrency
        self._leases: dict[str, ClaimableInstance] = {}
        self._free: dict[str, OrderedDict[str, ClaimableInstance]] = defaultdict(OrderedDict)
        self._starting: dict[str, dict[str, Instance]] = defaultdict(dict)
        self._lines: dict[str, deque[asyncio.Future[ClaimableInstance]]] = defaultdict(deque)
        self._others: dict[str, set[str]] = defaultdict(set)
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._unreported: dict[str, ClaimableInstance] = {}
        self.warm_ups = StartUpTimes()

    # ------------------------------------------------------------------ news of instances

    def observe(self, instance: Instance) -> None:
        """Take news of an instance in, from the topic or from the provisioner itself."""
        name, service = instance.instance_id, instance.service
        if instance.pool != self.pool or name in self._ended:
            return
        if instance.state is InstanceState.STARTING:
            if name not in self._leases:
                self._starting[service][name] = instance
            return
        self._starting[service].pop(name, None)
        lease = self._leases.get(name)
        if instance.state not in _SERVING:
            self._end(name, lease)
        else:
            self.warm_ups.observe(instance)
            self._others[service].discard(name)
            if lease is None:
                self._leases[name] = lease = ClaimableInstance(instance)
                self._unreported[name] = lease  # it is not ended before it is known to be over
            self._see(lease, instance)

    def known(self, service: str) -> list[str]:
        """The instances of a constituent that are known here, those of others included."""
        ours = [n for n, lease in self._leases.items() if lease.instance.service == service]
        return ours + list(self._others[service])

    def note(self, instance: Instance) -> None:
        """Take news in of an instance that another process claims, unless it is ours."""
        name, service = instance.instance_id, instance.service
        if name in self._leases:
            self.observe(instance)
        elif instance.pool == self.pool and instance.state in _SERVING:
            self._others[service].add(name)
        else:
            self._others[service].discard(name)

    # ------------------------------------------------------------------ claims

    def best(self, service: str) -> Sequence[Instance]:
        """The instances that a request may have, best first, as `intercept` wants them."""
        free = self._free.get(service)
        if free:
            return (next(reversed(free.values())).instance,)
        return tuple(self._starting[service].values())

    def take(self, service: str) -> ClaimableInstance | None:
        """Claim a free instance, the last used first, so that the others may be ended.

        One that is new comes last: Envoy may not have heard of it yet.
        """
        free = self._free.get(service)
        if not free:
            return None
        lease = next(reversed(free.values()))
        lease.in_flight += 1
        lease.ours = True
        self._unreported[lease.instance.instance_id] = lease
        if lease.in_flight >= self._concurrency(service):
            del free[lease.instance.instance_id]
        return lease

    def give_back(self, lease: ClaimableInstance, served_ms: int) -> None:
        """Release a claim; who waits in line is served first."""
        lease.in_flight -= 1
        lease.uses += 1
        lease.busy_ms += served_ms
        self._unreported[lease.instance.instance_id] = lease
        if not lease.over:
            self._make_free(lease)

    def put_back(self, lease: ClaimableInstance) -> None:
        """Release a claim that was not used."""
        lease.in_flight -= 1
        self._unreported[lease.instance.instance_id] = lease
        if not lease.over:
            self._make_free(lease)

    def lose(self, lease: ClaimableInstance) -> None:
        """Release a claim on an instance that does not answer; nobody gets it again."""
        lease.in_flight -= 1
        self._end(lease.instance.instance_id, lease)

    # ------------------------------------------------------------------ waiting in line

    def line(self, service: str) -> int:
        """How many wait for a constituent."""
        return len(self._lines[service])

    def line_up(self, service: str) -> asyncio.Future[ClaimableInstance]:
        """Wait for whatever instance is free first: started for us, expected, or given back."""
        place: asyncio.Future[ClaimableInstance] = asyncio.get_running_loop().create_future()
        self._lines[service].append(place)
        return place

    def leave(self, service: str, place: asyncio.Future[ClaimableInstance]) -> None:
        """Leave the line; a lease that came at the last moment goes to the next."""
        if place in self._lines[service]:
            self._lines[service].remove(place)
        if place.done() and not place.cancelled() and place.exception() is None:
            self.put_back(place.result())
        place.cancel()

    def turn_away(self, service: str, error: Exception) -> None:
        """Refuse the last in line."""
        line = self._lines[service]
        while line:
            place = line.pop()
            if not place.done():
                place.set_exception(error)
                return

    # ------------------------------------------------------------------ reports of use

    def reports(self, *, everything: bool = False) -> list[InstanceUse]:
        """News of use since the last call; of all that serve just now when asked for."""
        leases, self._unreported = self._unreported, {}
        if everything:
            leases |= {name: lease for name, lease in self._leases.items() if lease.in_flight}
        uses = [
            InstanceUse(
                instance_id=name,
                in_flight=x.in_flight,
                uses=x.uses,
                busy_ms=x.busy_ms,
                claimable=not x.over,
            )
            for name, x in leases.items()
        ]
        for lease in leases.values():
            lease.uses = lease.busy_ms = 0
        return uses

    def unreport(self, uses: Iterable[InstanceUse]) -> None:
        """Take reports back that did not arrive."""
        for use in uses:
            if lease := self._leases.get(use.instance_id):
                lease.uses += use.uses
                lease.busy_ms += use.busy_ms
                self._unreported[use.instance_id] = lease

    # ------------------------------------------------------------------ inside

    def _see(self, lease: ClaimableInstance, instance: Instance) -> None:
        """Free what is warm; leave alone what is busy with requests that were not claimed here."""
        if lease.in_flight:
            return
        if instance.state is InstanceState.WARM:
            lease.ours = False
            if instance.instance_id not in self._free[instance.service]:
                self._make_free(lease, last=True)
        elif not lease.ours:
            self._free[instance.service].pop(instance.instance_id, None)

    def _make_free(self, lease: ClaimableInstance, *, last: bool = False) -> None:
        """Give it to who waits; else it is taken first, or last."""
        service = lease.instance.service
        free = self._free[service]
        free[lease.instance.instance_id] = lease
        free.move_to_end(lease.instance.instance_id, last=not last)
        line = self._lines[service]
        while line and free:
            place = line.popleft()
            if not place.done() and (claimed := self.take(service)):
                place.set_result(claimed)

    def _end(self, name: str, lease: ClaimableInstance | None) -> None:
        self._ended[name] = None
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        if lease is not None:
            lease.over = True
            self._unreported[name] = lease
            self._leases.pop(name, None)
            self._free[lease.instance.service].pop(name, None)
