"""Leader election by a Lease: one provisioner of a pool works, the others stand by."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from lightkube import AsyncClient
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease
from lightkube.types import PatchType

from streams.provisioners.kubernetes.cluster import CONFLICT, NOT_FOUND, ApiServerError, code_of

__all__ = ["LeaderElection", "LeaseTimings"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimings:
    """Timings in seconds; the defaults are those of Kubernetes' own components."""

    lease_s: float = 15.0  # a leader that has not renewed for this long may be replaced
    renew_s: float = 10.0  # a leader that could not renew for this long steps down
    retry_s: float = 2.0


class LeaderElection:
    """Acquires a Lease and renews it while its holder works.

    As in client-go, a lease expires by our own clock, counted from when we saw its last renewal:
    clocks of different machines are never compared.
    """

    def __init__(
        self, client: AsyncClient, name: str, identity: str, times: LeaseTimings | None = None
    ) -> None:
        self._client, self._name, self._identity = client, name, identity
        self._times = times or LeaseTimings()
        self._seen: tuple[object, ...] = ()  # holder and renewal, as last seen
        self._seen_s = 0.0
        self._written: Lease | None = None  # ours, as last written; None: to be read first
        self._asked_s = 0.0  # when the request was sent that last acquired or renewed it

    async def lead(
        self, run: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event
    ) -> bool:
        """Run `run` while leading; False when leadership was lost, which sets the event of `run`.

        It is cancelled if it then goes on until the lease ends: another may lead from there.
        """
        if not await self._acquire(stop):
            return True
        logger.info(
            "Became the leader of %s as %s", self._name, self._identity, extra={"action": "lead"}
        )
        over = asyncio.Event()
        work = asyncio.ensure_future(run(over))
        renewal = asyncio.create_task(self._renew())
        stopped = asyncio.create_task(stop.wait())
        tasks = (work, renewal, stopped)
        kept = True
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            over.set()
            await asyncio.wait((work, renewal), return_when=asyncio.FIRST_COMPLETED)
            kept = not renewal.done()
            await (work if kept else self._finish(work))
        finally:
            for task in tasks:
                task.cancel()
            _, lost, _ = await asyncio.gather(*tasks, return_exceptions=True)
            if isinstance(lost, Exception):
                raise lost
            if kept:
                await self._release()
        return kept

    async def _finish(self, work: asyncio.Future[None]) -> None:
        """Wait for the end of work that was told to end; cancel it when the lease ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._left_s(self._times.lease_s)):
                await work

    async def _acquire(self, stop: asyncio.Event) -> bool:
        while not stop.is_set():
            try:
                if await self._try_acquire():
                    return True
            except ApiServerError as error:
                logger.warning("Cannot acquire the lease: %s", error, extra={"action": "lease"})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._times.retry_s):
                    await stop.wait()
        return False

    async def _renew(self) -> None:
        """Renew the lease; returns when leadership is lost."""
        while (left_s := self._left_s(self._times.renew_s)) > 0:
            await asyncio.sleep(min(left_s, self._times.retry_s))
            with contextlib.suppress(ApiServerError, TimeoutError):
                async with asyncio.timeout(self._left_s(self._times.renew_s)):
                    if not await self._try_acquire():
                        break
        logger.error("Lost the leadership of %s", self._name, extra={"action": "lost_lead"})

    def _left_s(self, term_s: float) -> float:
        """Time left of a term that began when the last request that succeeded was sent.

        The API server may have written the renewal at any time since, and others count from then.
        """
        return self._asked_s + term_s - time.monotonic()

    async def _try_acquire(self) -> bool:
        """Acquire or renew the lease if it is ours, free or expired; whether it is ours now."""
        asked_s = time.monotonic()
        if ours := await self._ask():
            self._asked_s = asked_s
        return ours

    async def _ask(self) -> bool:
        """Read the lease unless it is known, and write it if that is allowed; whether it was."""
        now = datetime.now(UTC)
        if (ours := self._written) is not None and await self._renewed(ours, now):
            return True
        try:
            lease = await self._client.get(Lease, self._name)
        except ApiServerError as error:
            if code_of(error) != NOT_FOUND:
                raise
            fresh = Lease(metadata=ObjectMeta(name=self._name), spec=self._spec(now, now, 0))
            return await self._without_conflict(self._client.create(fresh))
        spec = lease.spec or LeaseSpec()
        if spec.holderIdentity not in {None, "", self._identity} and not self._expired(spec):
            return False
        mine = spec.holderIdentity == self._identity
        since = spec.acquireTime if mine and spec.acquireTime else now
        changes = (spec.leaseTransitions or 0) + (not mine)
        # The write carries the version that was read: of two candidates, one gets a conflict.
        return await self._write(lease, self._spec(since, now, changes))

    async def _renewed(self, ours: Lease, now: datetime) -> bool:
        """Whether a renewal succeeded without a look at what is there: nobody has written since."""
        spec = ours.spec or LeaseSpec()
        return await self._write(
            ours, self._spec(spec.acquireTime or now, now, spec.leaseTransitions or 0)
        )

    def _expired(self, spec: LeaseSpec) -> bool:
        seen = (spec.holderIdentity, spec.renewTime)
        if seen != self._seen:
            self._seen, self._seen_s = seen, time.monotonic()
        duration_s = spec.leaseDurationSeconds or self._times.lease_s
        return time.monotonic() - self._seen_s > duration_s

    def _spec(self, since: datetime, now: datetime, changes: int) -> LeaseSpec:
        return LeaseSpec(
            holderIdentity=self._identity,
            leaseDurationSeconds=max(1, round(self._times.lease_s)),
            acquireTime=since,
            renewTime=now,
            leaseTransitions=changes,
        )

    async def _write(self, read: Lease, spec: LeaseSpec) -> bool:
        version = read.metadata.resourceVersion if read.metadata else None
        changed = Lease(metadata=ObjectMeta(resourceVersion=version), spec=spec)
        return await self._without_conflict(
            self._client.patch(Lease, self._name, changed, patch_type=PatchType.MERGE)
        )

    async def _without_conflict(self, call: Awaitable[Lease]) -> bool:
        """Whether a write succeeded; False when another process wrote first."""
        self._written = None
        try:
            self._written = await call
        except ApiServerError as error:
            if code_of(error) == CONFLICT:
                return False
            raise
        return True

    async def _release(self) -> None:
        """Free the lease, so that the next candidate need not wait for its expiry."""
        self._written = None
        with contextlib.suppress(ApiServerError):
            lease = await self._client.get(Lease, self._name)
            spec = lease.spec or LeaseSpec()
            if spec.holderIdentity == self._identity and spec.acquireTime and spec.renewTime:
                freed = self._spec(spec.acquireTime, spec.renewTime, spec.leaseTransitions or 0)
                freed.holderIdentity = ""
                await self._write(lease, freed)
