"""Which warm instances are free, and which requests hold the others; one event loop, so atomic.

An exclusive instance is never claimed twice; one of concurrency n serves at most n requests. One
process claims the instances of a constituent in a pool. Another process may take over where that
one ended, so instances that `instances` calls busy and that were not claimed here are left alone.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from streams.provisioners.core.interface import InstanceUse
from streams.records import Instance, InstanceState
from streams.request_path.core.start_up_times import StartUpTimes

__all__ = ["ClaimableInstance", "InstanceClaims", "Place"]

_SERVING = {InstanceState.WARM, InstanceState.BUSY}
_MAX_ENDED = 10_000  # instances remembered as ended


@dataclass(slots=True, eq=False)
class ClaimableInstance:
    """An instance, the requests in flight on it, and its use since the last report."""

    instance: Instance
    in_flight: int = 0
    uses: int = 0
    busy_ms: int = 0
    suspended: int = 0  # claims that must end before it is claimed again
    ended: bool = False  # not to be claimed any more
    unready: bool = False  # not to be claimed before it is warm again
    claimed_here: bool = False  # since it was last reported free: a later "busy" is our own echo


class Place(asyncio.Future[ClaimableInstance]):
    """The place of a request in the queue of a constituent; its result is the instance.

    Parameters
    ----------
    request_id, deadline_ms
        Which request waits, and until when: an instance may be started in its name.
    priority
        Of its tier: higher is served first.
    """

    def __init__(self, request_id: str, deadline_ms: int, priority: int = 0) -> None:
        super().__init__()
        self.request_id, self.deadline_ms, self.priority = request_id, deadline_ms, priority


class InstanceClaims:
    """The warm instances of a pool: free, claimed, and the requests that wait for one.

    Parameters
    ----------
    pool
        Instances of other pools are ignored.
    concurrency
        How many requests an instance of a constituent serves at once.
    """

    def __init__(self, pool: str, concurrency: Callable[[str], int]) -> None:
        self.pool = pool
        self._concurrency = concurrency
        self._claimable: dict[str, ClaimableInstance] = {}
        self._free: dict[str, OrderedDict[str, ClaimableInstance]] = defaultdict(OrderedDict)
        self._starting: dict[str, dict[str, Instance]] = defaultdict(dict)
        self._queues: dict[str, deque[Place]] = defaultdict(deque)
        self._foreign: dict[str, set[str]] = defaultdict(set)
        self._ended: OrderedDict[str, ClaimableInstance | None] = OrderedDict()
        self._unreported: dict[str, ClaimableInstance] = {}
        self.start_up_times = StartUpTimes()

    # ------------------------------------------------------------------ changes of instances

    def observe(self, instance: Instance) -> None:
        """Record a change of an instance, from the topic or from the provisioner itself."""
        name, constituent = instance.instance_id, instance.service
        if instance.pool != self.pool:
            return
        if name in self._ended and not self._revive(instance):
            self._tell_again(instance)
            return
        claimed = self._claimable.get(name)
        if instance.state is InstanceState.STARTING:
            if claimed is None:
                self._starting[constituent][name] = instance
            else:  # a pod that was warm, and is not ready now
                claimed.unready = True
                self._free[constituent].pop(name, None)
            return
        self._starting[constituent].pop(name, None)
        if instance.state not in _SERVING:
            self._end(instance, claimed)
        else:
            self.start_up_times.observe(instance)
            self._foreign[constituent].discard(name)
            if claimed is None:
                self._claimable[name] = claimed = ClaimableInstance(instance)
                # The provisioner does not end it before we report that it is not claimable.
                self._unreported[name] = claimed
            claimed.unready = False
            self._update(claimed, instance)

    def observe_foreign(self, instance: Instance) -> None:
        """Record a change of an instance that another process claims, unless it is ours."""
        name, constituent = instance.instance_id, instance.service
        if name in self._claimable:
            self.observe(instance)
        elif instance.pool == self.pool and instance.state in _SERVING:
            self._foreign[constituent].add(name)
        else:
            self._foreign[constituent].discard(name)

    def known(self, constituent: str) -> list[str]:
        """The instances of a constituent that are known here, those of other processes included.

        And those that do not answer, until the provisioner has heard of it.
        """
        untold = {n: one for n, one in self._unreported.items() if one.ended}
        ours = {**self._claimable, **untold}.items()
        names = [name for name, one in ours if one.instance.service == constituent]
        return names + list(self._foreign[constituent])

    def is_claimable(self, instance: Instance) -> bool:
        """Whether requests may get it, once it is free."""
        found = self._claimable.get(instance.instance_id)
        return found is not None and not found.unready

    # ------------------------------------------------------------------ claims

    def candidates(self, constituent: str) -> Sequence[Instance]:
        """The instances that a request may get, best first, in the form `intercept` takes."""
        free = self._free.get(constituent)
        if free:
            return (next(reversed(free.values())).instance,)
        return tuple(self._starting[constituent].values())

    def claim(self, constituent: str) -> ClaimableInstance | None:
        """Claim the free instance that was used last, so that the others become idle and may end.

        A new one comes last: Envoy may not know it yet.
        """
        free = self._free.get(constituent)
        if not free:
            return None
        claimed = next(reversed(free.values()))
        claimed.in_flight += 1
        claimed.claimed_here = True
        self._unreported[claimed.instance.instance_id] = claimed
        if claimed.in_flight >= self._concurrency(constituent):
            del free[claimed.instance.instance_id]
        return claimed

    def release(self, claimed: ClaimableInstance, served_ms: int) -> None:
        """Release a claim whose request was served; the first in the queue is next."""
        claimed.uses += 1
        claimed.busy_ms += served_ms
        self.release_unused(claimed)

    def release_unused(self, claimed: ClaimableInstance) -> None:
        """Release a claim that was not used."""
        claimed.in_flight -= 1
        self._unreported[claimed.instance.instance_id] = claimed
        if not (claimed.ended or claimed.suspended or claimed.unready):
            self._make_free(claimed)

    def suspend(self, claimed: ClaimableInstance) -> None:
        """Claim the instance for nobody until this claim is resumed."""
        claimed.suspended += 1
        self._free[claimed.instance.service].pop(claimed.instance.instance_id, None)

    def resume(self, claimed: ClaimableInstance) -> None:
        """Release a claim that was suspended."""
        claimed.suspended -= 1
        self.release_unused(claimed)

    def discard(self, claimed: ClaimableInstance) -> None:
        """Release a claim on an instance that does not answer; it is never claimed again."""
        claimed.in_flight -= 1
        self._end(claimed.instance, claimed)

    # ------------------------------------------------------------------ the queue

    def queue_lengths(self) -> Mapping[str, int]:
        """How many requests wait, by constituent."""
        return {name: len(queue) for name, queue in list(self._queues.items())}

    def queue(self, constituent: str) -> Sequence[Place]:
        """The requests that wait for a constituent, the next one first."""
        return self._queues[constituent]

    def enqueue(self, constituent: str, place: Place) -> None:
        """Wait for the next free instance, behind all of this priority or a higher one."""
        insort(self._queues[constituent], place, key=lambda one: -one.priority)

    def dequeue(self, constituent: str, place: Place) -> None:
        """Stop waiting; an instance that was claimed at the last moment goes to the next."""
        if place in self._queues[constituent]:
            self._queues[constituent].remove(place)
        if place.done() and not place.cancelled() and place.exception() is None:
            self.release_unused(place.result())
        place.cancel()

    def reject(self, constituent: str, place: Place, error: Exception) -> None:
        """Reject a request that waits; its place is free at once."""
        self._queues[constituent].remove(place)
        place.set_exception(error)

    # ------------------------------------------------------------------ reports of use

    def collect_reports(self, *, everything: bool = False) -> list[InstanceUse]:
        """The use since the last call; if asked, also of every instance that serves just now."""
        reported, self._unreported = self._unreported, {}
        if everything:
            reported |= {name: one for name, one in self._claimable.items() if one.in_flight}
        uses = [
            InstanceUse(
                instance_id=name,
                in_flight=x.in_flight,
                uses=x.uses,
                busy_ms=x.busy_ms,
                claimable=not x.ended,
            )
            for name, x in reported.items()
        ]
        for one in reported.values():
            one.uses = one.busy_ms = 0
        return uses

    def restore_reports(self, uses: Iterable[InstanceUse]) -> None:
        """Add reports that did not arrive to the next ones."""
        for use in uses:
            name = use.instance_id
            if claimed := self._claimable.get(name) or self._ended.get(name):
                claimed.uses += use.uses
                claimed.busy_ms += use.busy_ms
                self._unreported[name] = claimed

    # ------------------------------------------------------------------ inside

    def _update(self, claimed: ClaimableInstance, instance: Instance) -> None:
        """Free a warm instance; leave one alone that serves requests of another process."""
        if claimed.in_flight:
            return
        if instance.state is InstanceState.WARM:
            claimed.claimed_here = False
            if instance.instance_id not in self._free[instance.service]:
                self._make_free(claimed, last=True)
        elif not claimed.claimed_here:
            self._free[instance.service].pop(instance.instance_id, None)

    def _make_free(self, claimed: ClaimableInstance, *, last: bool = False) -> None:
        """Hand it to a waiting request; without one it is claimed next, or last."""
        constituent = claimed.instance.service
        free = self._free[constituent]
        free[claimed.instance.instance_id] = claimed
        free.move_to_end(claimed.instance.instance_id, last=not last)
        queue = self._queues[constituent]
        while queue and free:
            place = queue.popleft()
            if not place.done() and (handed := self.claim(constituent)):
                place.set_result(handed)

    def _end(self, last: Instance, claimed: ClaimableInstance | None) -> None:
        """Claim it no more; `last` is its last record."""
        name = last.instance_id
        self._ended[name] = claimed
        if len(self._ended) > _MAX_ENDED:
            self._ended.popitem(last=False)
        if claimed is not None:
            claimed.instance, claimed.ended = last, True
            self._unreported[name] = claimed
            self._claimable.pop(name, None)
            self._free[claimed.instance.service].pop(name, None)

    def _tell_again(self, instance: Instance) -> None:
        """Report one that serves, as a pod that recovered, and is claimed no more: it is to end."""
        claimed = self._ended[instance.instance_id]
        if claimed is not None and instance.state in _SERVING:
            self._unreported[instance.instance_id] = claimed

    def _revive(self, instance: Instance) -> bool:
        """Claim one again that was to end and is kept; whether that is so."""
        claimed = self._ended.get(instance.instance_id)
        if claimed is None or instance.state not in _SERVING:
            return False
        last = claimed.instance
        if last.state is not InstanceState.DRAINING or instance.changed_ms <= last.changed_ms:
            return False
        del self._ended[instance.instance_id]
        self._claimable[instance.instance_id] = claimed
        claimed.instance, claimed.ended = instance, False
        self._unreported[instance.instance_id] = claimed
        return True
