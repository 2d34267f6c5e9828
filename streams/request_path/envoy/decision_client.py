"""How the activator asks the decision service, and knows when there is none to ask."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import aiohttp

from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Instance
from streams.request_path.core.standard_path import instance_of
from streams.runtime.clock import wall_ms

__all__ = ["DecisionClient", "DecisionServiceUnavailable", "GrantedInstance", "back"]

logger = logging.getLogger(__name__)

_LOOK_S = 0.05
_LOOK_LIMIT_S = 0.2
_MISSES = 2  # looks without an answer: a busy machine is no hanging service


class DecisionServiceUnavailable(Exception):
    """The decision service does not answer."""


@dataclass(frozen=True, slots=True)
class GrantedInstance:
    """An instance that was granted, and the key to give it back with."""

    instance: Instance
    key: str
    warm: bool  # it was free when asked for


class DecisionClient:
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
        misses = 0
        while True:
            misses = misses + 1 if (found := await self._answers()) is False else 0
            if found is None or misses >= _MISSES:
                if not self._away.is_set():
                    logger.warning("No decisions: none answers", extra={"action": "decider_away"})
                self._away.set()
            elif found:
                self._away.clear()
            await asyncio.sleep(_LOOK_S)

    async def _answers(self) -> bool | None:
        """Whether it answers in time; None when nobody is there."""
        limit = aiohttp.ClientTimeout(total=_LOOK_LIMIT_S)
        try:
            async with self._session.get(f"{self._url}/healthz", timeout=limit) as answer:
                return answer.status == 200
        except TimeoutError:
            return False
        except aiohttp.ClientError:
            return None

    async def lease(self, service: str, request_id: str, deadline_ms: int) -> GrantedInstance:
        """Wait for an instance.

        Raises
        ------
        Away
            The service does not answer.
        StandardPathRefused
            It has none, and will not have one in time.
        """
        asking = asyncio.ensure_future(self._ask(service, request_id, deadline_ms))
        away = asyncio.ensure_future(self._away.wait())
        try:
            await asyncio.wait({asking, away}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise DecisionServiceUnavailable
            return asking.result()
        finally:
            asking.cancel()
            away.cancel()

    async def _ask(self, service: str, request_id: str, deadline_ms: int) -> GrantedInstance:
        body = {"service": service, "request_id": request_id, "deadline_ms": deadline_ms}
        limit = aiohttp.ClientTimeout(total=max(0.001, (deadline_ms - wall_ms()) / 1000) + 1)
        try:
            async with self._session.post(f"{self._url}/lease", json=body, timeout=limit) as answer:
                told = await answer.json()
                after = int(answer.headers.get("Retry-After", "1"))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise DecisionServiceUnavailable from error
        if answer.status != 200:
            raise StandardPathRefused(str(told.get("error", answer.reason)), retry_after_s=after)
        return GrantedInstance(instance_of(told["instance"]), told["key"], told["warm"])

    async def release(self, released: dict[str, Any]) -> None:
        """Give a lease back; one that is never given back ends by itself."""
        limit = aiohttp.ClientTimeout(total=1)
        try:
            async with self._session.post(
                f"{self._url}/release", json=released, timeout=limit
            ) as answer:
                answer.raise_for_status()
        except (aiohttp.ClientError, TimeoutError) as error:
            logger.debug("A lease was not given back: %s", error)


def back(key: str, instance_id: str, served_ms: int = 0, *, lost: bool = False) -> dict[str, Any]:
    """A lease given back: who served in the end, how long; or that the instance is dead."""
    return {"key": key, "instance": instance_id, "served_ms": served_ms, "lost": lost}
