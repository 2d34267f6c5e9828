"""The standard path: a missing instance is started while the request waits, within bounds."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Instance
from streams.request_path.core.claims import ClaimableInstance, InstanceClaims, Place
from streams.request_path.core.provisioner_client import ProvisionerAway, ProvisionerClient
from streams.runtime.clock import wall_ms

__all__ = ["PATIENCE_S", "StandardPath"]

_AGAIN_S = 0.1  # before another instance is asked for, in the place of one that cannot be claimed
PATIENCE_S = 10.0  # how long requests wait for a provisioner that starts again
_RETRY_S = 0.2


class StandardPath:
    """Waits for instances: a bounded queue per constituent, a deadline, as few starts as suffice.

    Parameters
    ----------
    claims
        The warm instances, and the queues.
    provisioner
        Starts instances.
    concurrency
        How many requests an instance of a constituent serves at once: so many share a start.
    queue
        Most requests that wait for one constituent.
    """

    def __init__(
        self,
        claims: InstanceClaims,
        provisioner: ProvisionerClient,
        *,
        concurrency: Callable[[str], int],
        queue: int,
    ) -> None:
        self._claims = claims
        self._provisioner = provisioner
        self._concurrency = concurrency
        self._queue = queue
        self._starting: dict[str, set[Place]] = defaultdict(set)  # in whose name one is under way
        self._tasks: set[asyncio.Task[None]] = set()

    async def claim(
        self, constituent: str, request_id: str, deadline_ms: int, priority: int = 0
    ) -> ClaimableInstance:
        """Claim an instance, now or as soon as one is free; a higher priority comes first.

        Raises
        ------
        StandardPathRefused
            The queue is full, the deadline passed, or the provisioner cannot start one.
        """
        if claimed := self._claims.claim(constituent):
            return claimed
        if len(self._claims.queue(constituent)) >= self._queue:
            self._make_room(constituent, priority)
        place = Place(request_id, deadline_ms, priority)
        self._claims.enqueue(constituent, place)
        self._start_if_needed(constituent)
        try:
            async with asyncio.timeout(max(0.0, (deadline_ms - wall_ms()) / 1000)):
                return await asyncio.shield(place)
        except TimeoutError:
            self._claims.dequeue(constituent, place)
            raise StandardPathRefused(f"no instance of {constituent} was ready in time") from None
        except asyncio.CancelledError:
            self._claims.dequeue(constituent, place)
            raise

    async def close(self) -> None:
        """Cancel the starts that are waited for."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _make_room(self, constituent: str, priority: int) -> None:
        """Reject the last in a full queue for a request of higher priority; else refuse that one."""
        full = StandardPathRefused(f"{self._queue} requests wait already for {constituent}")
        queue = self._claims.queue(constituent)
        if not queue or queue[-1].priority >= priority:
            raise full
        self._claims.reject(constituent, queue[-1], full)

    def _start_if_needed(self, constituent: str) -> None:
        """Start one more instance unless those that are starting suffice for the queue.

        In the name of the last who has asked for none: it has the most time, and who came before
        is rejected after it.
        """
        queue, starting = self._claims.queue(constituent), self._starting[constituent]
        if len(starting) * self._concurrency(constituent) >= len(queue):
            return
        place = next(place for place in reversed(queue) if place not in starting)
        starting.add(place)
        task = asyncio.create_task(self._start(constituent, place))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self, constituent: str, place: Place) -> None:
        """Start an instance in the name of a request; then another if too few are under way.

        A refusal rejects the request, if it still waits, but none that shares the start: that one
        asks in its own name.
        """
        try:
            instance = await self._ask(constituent, place)
        except StandardPathRefused as error:
            if not place.done():
                self._claims.reject(constituent, place, error)
        else:
            self._claims.observe(instance)
            if not self._claims.is_claimable(instance):  # it ended meanwhile, or is not ready now
                await asyncio.sleep(_AGAIN_S)
        self._start_if_needed(constituent)

    async def _ask(self, constituent: str, place: Place) -> Instance:
        """Have an instance started; it counts among the starts until this ends, however it does."""
        try:
            while True:
                try:
                    return await self._provisioner.start(
                        constituent,
                        place.request_id,
                        place.deadline_ms,
                        self._claims.known(constituent),
                        pool=self._claims.pool,
                    )
                except ProvisionerAway as away:
                    if place.done() or away.for_s > PATIENCE_S:
                        raise
                await asyncio.sleep(_RETRY_S)
        finally:
            self._starting[constituent].discard(place)
