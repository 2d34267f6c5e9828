"""How the activator asks the decision service, and knows when there is none to ask."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import aiohttp

from streams.gateway.standard import instance_of
from streams.provisioners.base import Refused, wall_ms
from streams.records import Instance

__all__ = ["Away", "Decisions", "Granted", "back"]

logger = logging.getLogger(__name__)

_LOOK_S = 0.05
_LOOK_LIMIT_S = 0.1


class Away(Exception):
    """The decision service does not answer."""


@dataclass(frozen=True, slots=True)
class Granted:
    """An instance that was granted, and the token to give it back with."""

    instance: Instance
    token: str
    warm: bool  # it was free when asked for


class Decisions:
    """A client of the decision service.

    Parameters
    ----------
    session, place
        The way to it.
    """

    def __init__(self, session: aiohttp.ClientSession, place: str) -> None:
        self._session = session
        self._url = f"http://{place}"
        self._away = asyncio.Event()

    async def look(self) -> None:
        """See again and again whether it answers: one that hangs is not waited for."""
        limit = aiohttp.ClientTimeout(total=_LOOK_LIMIT_S)
        while True:
            try:
                async with self._session.get(f"{self._url}/healthz", timeout=limit) as answer:
                    answer.raise_for_status()
            except (aiohttp.ClientError, TimeoutError):
                if not self._away.is_set():
                    logger.warning("No decisions: none answers", extra={"action": "decider_away"})
                self._away.set()
            else:
                self._away.clear()
            await asyncio.sleep(_LOOK_S)

    async def lease(self, service: str, request_id: str, deadline_ms: int) -> Granted:
        """Wait for an instance.

        Raises
        ------
        Away
            The service does not answer.
        Refused
            It has none, and will not have one in time.
        """
        asking = asyncio.ensure_future(self._ask(service, request_id, deadline_ms))
        away = asyncio.ensure_future(self._away.wait())
        try:
            await asyncio.wait({asking, away}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise Away
            return asking.result()
        finally:
            asking.cancel()
            away.cancel()

    async def _ask(self, service: str, request_id: str, deadline_ms: int) -> Granted:
        body = {"service": service, "request_id": request_id, "deadline_ms": deadline_ms}
        limit = aiohttp.ClientTimeout(total=max(0.001, (deadline_ms - wall_ms()) / 1000) + 1)
        try:
            async with self._session.post(f"{self._url}/lease", json=body, timeout=limit) as answer:
                told = await answer.json()
                after = int(answer.headers.get("Retry-After", "1"))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Away from error
        if answer.status != 200:
            raise Refused(str(told.get("error", answer.reason)), retry_after_s=after)
        return Granted(instance_of(told["instance"]), told["token"], told["warm"])

    async def release(self, released: list[dict[str, Any]]) -> None:
        """Give leases back; those that do not arrive end by themselves."""
        limit = aiohttp.ClientTimeout(total=1)
        try:
            async with self._session.post(
                f"{self._url}/release", json={"released": released}, timeout=limit
            ) as answer:
                answer.raise_for_status()
        except (aiohttp.ClientError, TimeoutError) as error:
            logger.debug("Leases were not given back: %s", error)


def back(token: str, instance_id: str, served_ms: int) -> dict[str, Any]:
    """A lease given back: who served in the end, and for how long."""
    return {"token": token, "instance": instance_id, "served_ms": served_ms}
