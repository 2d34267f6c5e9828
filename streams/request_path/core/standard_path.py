"""The standard path: a missing instance is started while the request waits, within bounds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Instance
from streams.request_path.core.claims import ClaimableInstance, InstanceClaims
from streams.request_path.core.provisioner_client import ProvisionerClient
from streams.runtime.clock import wall_ms

__all__ = ["StandardPath"]

_AGAIN_S = 0.1  # before another instance is asked for, in the place of one that cannot be claimed


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
        self._starts: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def claim(self, constituent: str, request_id: str, deadline_ms: int) -> ClaimableInstance:
        """Claim an instance, now or as soon as one is free.

        Raises
        ------
        StandardPathRefused
            The queue is full, the deadline passed, or the provisioner cannot start one.
        """
        if claimed := self._claims.claim(constituent):
            return claimed
        if self._claims.queue_length(constituent) >= self._queue:
            raise StandardPathRefused(f"{self._queue} requests wait already for {constituent}")
        place = self._claims.enqueue(constituent)
        self._start_if_needed(constituent, request_id, deadline_ms, place)
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

    def _start_if_needed(
        self,
        constituent: str,
        request_id: str,
        deadline_ms: int,
        place: asyncio.Future[ClaimableInstance],
    ) -> None:
        """Start one more instance unless those that are starting suffice for the queue."""
        if self._starts_suffice(constituent):
            return
        self._starts[constituent] += 1
        task = asyncio.create_task(self._start(constituent, request_id, deadline_ms, place))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _starts_suffice(self, constituent: str) -> bool:
        served = self._starts[constituent] * self._concurrency(constituent)
        return served >= self._claims.queue_length(constituent)

    async def _start(
        self,
        constituent: str,
        request_id: str,
        deadline_ms: int,
        place: asyncio.Future[ClaimableInstance],
    ) -> None:
        try:
            instance = await self._ask(constituent, request_id, deadline_ms)
        except StandardPathRefused as error:
            self._reject(constituent, place, error)
        else:
            self._claims.observe(instance)
            if not self._claims.is_claimable(instance):  # it ended meanwhile, or is not ready now
                await asyncio.sleep(_AGAIN_S)
            # Another request may have claimed it: then this one needs the next.
            if not place.done():
                self._start_if_needed(constituent, request_id, deadline_ms, place)

    async def _ask(self, constituent: str, request_id: str, deadline_ms: int) -> Instance:
        """Have an instance started; it counts among the starts until this ends, however it does."""
        known = self._claims.known(constituent)
        try:
            return await self._provisioner.start(
                constituent, request_id, deadline_ms, known, pool=self._claims.pool
            )
        finally:
            self._starts[constituent] -= 1

    def _reject(
        self, constituent: str, place: asyncio.Future[ClaimableInstance], error: StandardPathRefused
    ) -> None:
        """Reject the request that asked for the start; if it was served, the last in the queue."""
        if not place.done():
            self._claims.reject(constituent, place, error)
        elif not self._starts_suffice(constituent):
            self._claims.reject_last(constituent, error)
