"""Instances that owe an answer: none gets another request before it has shown that it lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import aiohttp

from streams.request_path.core.claims import ClaimableInstance, InstanceClaims
from streams.request_path.core.provisioner_client import until

__all__ = ["UnansweredInstances"]

logger = logging.getLogger(__name__)

PATIENCE_S = 30.0  # after the deadline: it may serve a request at a time, and be still at it


class UnansweredInstances:
    """Suspends instances whose requests were given up, until they answer again.

    One that hangs would be claimed by request after request: it was used last, and is free.

    Parameters
    ----------
    claims
        Where claims are released.
    session
        Connections to the instances.
    health
        The path of a constituent at which its instances answer once they can serve.
    patience_s
        How long after the deadline of its request an instance may say nothing; then it is ended.
        One that refuses the connection is ended at once.
    """

    def __init__(
        self,
        claims: InstanceClaims,
        session: aiohttp.ClientSession,
        health: Callable[[str], str],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._claims, self._session, self._health = claims, session, health
        self._patience_s = patience_s
        self._tasks: set[asyncio.Task[None]] = set()

    def check(self, claimed: ClaimableInstance, deadline_ms: int) -> None:
        """Release a claim once its instance answers, whatever it says; end one that does not.

        A request may be given up long before its deadline, and its instance still be at it.
        """
        self._claims.suspend(claimed)
        task = asyncio.create_task(self._check(claimed, deadline_ms))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for no instance any longer."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _check(self, claimed: ClaimableInstance, deadline_ms: int) -> None:
        if await self._answers(claimed, deadline_ms):
            self._claims.resume(claimed)
            return
        if not claimed.ended:
            name = claimed.instance.instance_id
            extra = {"action": "instance_hangs", "instance": name}
            logger.warning("%s does not answer any more, and is ended", name, extra=extra)
        self._claims.discard(claimed)

    async def _answers(self, claimed: ClaimableInstance, deadline_ms: int) -> bool:
        instance = claimed.instance
        limit = until(deadline_ms, grace_s=self._patience_s)
        url = instance.endpoint.rstrip("/") + self._health(instance.service)
        try:
            async with self._session.get(url, timeout=limit, allow_redirects=False):
                return True
        except (aiohttp.ClientConnectionError, TimeoutError):
            return False
        except aiohttp.ClientError:  # an answer, though not in HTTP
            return True
