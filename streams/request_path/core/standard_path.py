"""The standard path: what is missing is started while the request waits, within bounds."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import aiohttp

from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Instance, InstanceState
from streams.request_path.core.claims import ClaimableInstance, InstanceClaims
from streams.runtime.clock import wall_ms

__all__ = ["StandardPath", "instance_of"]

logger = logging.getLogger(__name__)


class StandardPath:
    """Waiting for an instance: a bounded line a constituent, a deadline, as few starts as do.

    Parameters
    ----------
    claims
        The warm set.
    session, url
        The way to the provisioner.
    concurrency
        How many requests an instance of a constituent serves at once: so many share a start.
    queue
        Most requests that wait for one constituent.
    """

    def __init__(
        self,
        claims: InstanceClaims,
        session: aiohttp.ClientSession,
        url: str,
        *,
        concurrency: Callable[[str], int],
        queue: int,
    ) -> None:
        self._claims = claims
        self._session = session
        self._url = url
        self._concurrency = concurrency
        self._queue = queue
        self._starts: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def lease(self, service: str, request_id: str, deadline_ms: int) -> ClaimableInstance:
        """Claim an instance, free now or as soon as one is.

        Raises
        ------
        StandardPathRefused
            The line is full, the deadline passed, or the provisioner cannot start one.
        """
        if lease := self._claims.take(service):
            return lease
        if self._claims.line(service) >= self._queue:
            raise StandardPathRefused(f"{self._queue} requests wait already for {service}")
        place = self._claims.line_up(service)
        self._top_up(service, request_id, deadline_ms, place)
        try:
            async with asyncio.timeout(max(0.0, (deadline_ms - wall_ms()) / 1000)):
                return await asyncio.shield(place)
        except TimeoutError:
            self._claims.leave(service, place)
            raise StandardPathRefused(f"no instance of {service} was ready in time") from None
        except asyncio.CancelledError:
            self._claims.leave(service, place)
            raise

    async def close(self) -> None:
        """Wait for nothing any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _top_up(
        self,
        service: str,
        request_id: str,
        deadline_ms: int,
        place: asyncio.Future[ClaimableInstance],
    ) -> None:
        """Ask for one more instance unless those that are asked for will do for the line."""
        if self._starts[service] * self._concurrency(service) >= self._claims.line(service):
            return
        self._starts[service] += 1
        task = asyncio.create_task(self._ask(service, request_id, deadline_ms, place))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(
        self,
        service: str,
        request_id: str,
        deadline_ms: int,
        place: asyncio.Future[ClaimableInstance],
    ) -> None:
        try:
            instance = await self._start(service, request_id, deadline_ms)
        except StandardPathRefused as error:
            self._starts[service] -= 1
            self._refuse(service, place, error)
        else:
            self._starts[service] -= 1
            self._claims.observe(instance)
            # Another request may have had it: then this one needs the next.
            if not place.done():
                self._top_up(service, request_id, deadline_ms, place)

    def _refuse(
        self, service: str, place: asyncio.Future[ClaimableInstance], error: StandardPathRefused
    ) -> None:
        """Tell the request that asked; when it was served otherwise, the last in line."""
        if not place.done():
            place.set_exception(error)
            return
        if self._starts[service] * self._concurrency(service) < self._claims.line(service):
            self._claims.turn_away(service, error)

    async def _start(self, service: str, request_id: str, deadline_ms: int) -> Instance:
        body = {
            "service": service,
            "request_id": request_id,
            "deadline_ms": deadline_ms,
            "known": self._claims.known(service),
        }
        limit = aiohttp.ClientTimeout(total=max(0.001, (deadline_ms - wall_ms()) / 1000))
        try:
            async with self._session.post(
                f"{self._url}/standard", json=body, timeout=limit
            ) as answer:
                told = await answer.json()
                if answer.status == 200:
                    return instance_of(told)
                after = int(answer.headers.get("Retry-After", "1"))
                raise StandardPathRefused(
                    str(told.get("error", answer.reason)), retry_after_s=after
                )
        except TimeoutError:
            raise StandardPathRefused(f"no instance of {service} was ready in time") from None
        except (aiohttp.ClientError, ValueError) as error:
            raise StandardPathRefused(
                f"the provisioner at {self._url} does not answer: {error}"
            ) from error


def instance_of(told: dict[str, Any]) -> Instance:
    """The instance that the provisioner answered with."""
    known = {item.name for item in fields(Instance)}
    values = {name: value for name, value in told.items() if name in known}
    return Instance(**{**values, "state": InstanceState(values["state"])})
