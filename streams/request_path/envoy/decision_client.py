"""The activator's HTTP client of the decision service, with a health check of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Instance
from streams.request_path.core.provisioner_client import instance_of, until

__all__ = ["DecisionClient", "DecisionServiceUnavailable", "GrantedInstance"]

logger = logging.getLogger(__name__)

_CHECK_S = 0.05
_CHECK_TIMEOUT = aiohttp.ClientTimeout(total=0.2)
_RELEASE_TIMEOUT = aiohttp.ClientTimeout(total=1)
_MAX_TIMEOUTS = 2  # health checks in a row: one alone may be due to a busy machine


class DecisionServiceUnavailable(Exception):
    """The decision service does not answer."""


@dataclass(frozen=True, slots=True)
class GrantedInstance:
    """An instance leased to a request, and the key to release it with."""

    instance: Instance
    key: str
    warm: bool  # it was free when the request arrived


class DecisionClient:
    """Leases exclusive instances from the decision service.

    Parameters
    ----------
    session
        Connections to it.
    address
        Its host:port.
    headers
        What it asks its clients to bring.
    """

    def __init__(
        self, session: aiohttp.ClientSession, address: str, headers: Mapping[str, str]
    ) -> None:
        self._session = session
        self._url = f"http://{address}"
        self._headers = headers
        self._unavailable = asyncio.Event()

    async def check_health(self) -> None:
        """Check for ever whether the service answers, so that no request waits if it hangs."""
        timeouts = 0
        while True:
            answers = await self._answers()
            timeouts = timeouts + 1 if answers is False else 0
            if answers is None or timeouts >= _MAX_TIMEOUTS:
                if not self._unavailable.is_set():
                    extra = {"action": "decider_away"}
                    logger.warning("The decision service does not answer", extra=extra)
                self._unavailable.set()
            elif answers:
                self._unavailable.clear()
            await asyncio.sleep(_CHECK_S)

    async def _answers(self) -> bool | None:
        """Whether it answers in time; None if the connection fails."""
        try:
            async with self._session.get(f"{self._url}/healthz", timeout=_CHECK_TIMEOUT) as answer:
                return answer.status == 200
        except TimeoutError:
            return False
        except aiohttp.ClientError:
            return None

    async def acquire(
        self, constituent: str, request_id: str, deadline_ms: int, priority: int
    ) -> GrantedInstance:
        """Wait for an instance; a request of higher priority gets one first.

        Raises
        ------
        DecisionServiceUnavailable
            The service does not answer.
        StandardPathRefused
            It has no instance, and will not have one by the deadline.
        """
        asking = asyncio.ensure_future(self._ask(constituent, request_id, deadline_ms, priority))
        unavailable = asyncio.ensure_future(self._unavailable.wait())
        try:
            await asyncio.wait({asking, unavailable}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise DecisionServiceUnavailable
            return asking.result()
        finally:
            asking.cancel()
            unavailable.cancel()

    async def _ask(
        self, constituent: str, request_id: str, deadline_ms: int, priority: int
    ) -> GrantedInstance:
        body = {
            "service": constituent,
            "request_id": request_id,
            "deadline_ms": deadline_ms,
            "priority": priority,
        }
        limit = until(deadline_ms, grace_s=1.0)
        try:
            async with self._session.post(
                f"{self._url}/lease", json=body, timeout=limit, headers=self._headers
            ) as response:
                answer = await response.json()
                after = int(response.headers.get("Retry-After", "1"))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise DecisionServiceUnavailable from error
        if response.status != 200:
            raise StandardPathRefused(
                str(answer.get("error", response.reason)), retry_after_s=after
            )
        return GrantedInstance(instance_of(answer["instance"]), answer["key"], answer["warm"])

    async def release(
        self,
        granted: GrantedInstance,
        served_ms: int = 0,
        *,
        lost: bool = False,
        unanswered: bool = False,
    ) -> None:
        """Release a lease; one that is never released expires.

        Parameters
        ----------
        granted
            The instance.
        served_ms
            How long it served.
        lost
            Whether it is dead.
        unanswered
            Whether it owes an answer.
        """
        body = {
            "key": granted.key,
            "instance": granted.instance.instance_id,
            "served_ms": served_ms,
            "lost": lost,
            "unanswered": unanswered,
        }
        try:
            async with self._session.post(
                f"{self._url}/release", json=body, timeout=_RELEASE_TIMEOUT, headers=self._headers
            ) as response:
                response.raise_for_status()
        except (aiohttp.ClientError, TimeoutError) as error:
            logger.debug("A lease was not released: %s", error)
