"""Open-loop HTTP load: each request is sent when due, whether earlier ones have ended or not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp

from streams.demo.population import SyntheticRequest
from streams.demo.studio import TIER
from streams.records import Result
from streams.runtime.clock import wall_ms

__all__ = ["LoadResult", "play"]

_AT_ONCE = 256
_LATE_S = 0.25
_TIMEOUT_S = 30.0


@dataclass(slots=True)
class LoadResult:
    """The outcome of a load, counted while it runs."""

    began_ms: int = 0  # when time 0 of the requests was
    sent: int = 0
    late: int = 0  # sent over .25 s after they were due: the load was not as planned
    answers: Counter[str] = field(default_factory=Counter)  # by header x-foremesh, or by failure

    @property
    def done(self) -> int:
        """Number of requests that have ended."""
        return sum(self.answers.values())

    @property
    def faults(self) -> Mapping[str, int]:
        """Number of requests that were not served, by status or error."""
        served = {kind.value for kind in Result}
        return {answer: n for answer, n in sorted(self.answers.items()) if answer not in served}


async def play(
    asks: Sequence[SyntheticRequest],
    url: str,
    prefix: str,
    report: Callable[[LoadResult], None],
) -> LoadResult:
    """Send each request when it is due (open loop), the first at once, at most 256 concurrently.

    Parameters
    ----------
    asks
        Requests in order of time.
    url
        URL of Envoy.
    prefix
        Of the request ids; the position in the sequence follows.
    report
        Called whenever a request was sent or has ended.
    """
    played = LoadResult()
    loop = asyncio.get_running_loop()
    room = asyncio.Semaphore(_AT_ONCE)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        began = loop.time() - (asks[0].at_s if asks else 0.0)
        played.began_ms = wall_ms() + round((began - loop.time()) * 1000)

        async def send(ask: SyntheticRequest, request_id: str) -> None:
            try:
                await _send(session, url, ask, request_id, played)
            finally:
                room.release()
                report(played)

        async with asyncio.TaskGroup() as group:
            for number, ask in enumerate(asks):
                await asyncio.sleep(began + ask.at_s - loop.time())
                await room.acquire()
                played.sent += 1
                played.late += loop.time() - began - ask.at_s > _LATE_S
                group.create_task(send(ask, f"{prefix}{number:06}"))
                report(played)
    return played


async def _send(
    session: aiohttp.ClientSession, url: str, ask: SyntheticRequest, name: str, played: LoadResult
) -> None:
    headers = {"x-foremesh-user": ask.user, "x-foremesh-tier": TIER.tier, "x-request-id": name}
    try:
        async with session.post(f"{url}/{ask.service}", json={}, headers=headers) as answer:
            await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        played.answers[type(error).__name__] += 1
        return
    served = answer.status == HTTPStatus.OK
    played.answers[answer.headers["x-foremesh"] if served else f"status {answer.status}"] += 1
