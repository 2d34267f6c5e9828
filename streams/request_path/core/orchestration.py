"""A composite request on its way: its constituents in steps, those of one step at once."""

from __future__ import annotations

import abc
import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
from msgspec import Raw
from yarl import URL

from streams.catalog.critical_path import Steps
from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Part
from streams.request_path.core.json_answer import json_answer
from streams.request_path.core.provisioner_client import until

__all__ = ["ClientGone", "CompositeRun", "ConstituentFailed", "ConstituentLate", "last_step_of"]

logger = logging.getLogger(__name__)


class ConstituentFailed(Exception):
    """A constituent did not serve its part; the message says which one and why."""


class ConstituentLate(ConstituentFailed):
    """A constituent did not answer in time."""


class ClientGone(ConstituentFailed):
    """The client went away: what was not begun by then is left."""


# Of constituents that fail at once the worst is told: a refusal, after which the same may be asked
# again, only where none of the others may have done its part.
_WORST_FIRST = (ClientGone, ConstituentFailed, StandardPathRefused)
_UNREADABLE = (aiohttp.ClientError, ValueError, LookupError, RecursionError)


@dataclass(slots=True, eq=False, kw_only=True)
class CompositeRun(abc.ABC):
    """One request on its way through the steps of its composite.

    Parameters
    ----------
    request_id, steps, deadline_ms
        The request, its steps, and its deadline (milliseconds since the epoch).
    values, parameters
        Of the user's body, as they are written, and the request's parameters: sent to every
        constituent, with the request's id and the answers of earlier steps.
    idempotent
        Whether a constituent may be called again that may have served its part already.
    """

    request_id: str
    steps: Steps
    deadline_ms: int
    values: Mapping[str, Raw]
    parameters: Mapping[str, str]
    session: aiohttp.ClientSession
    idempotent: bool
    answers: dict[str, Raw] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    _gone: bool = False
    _waits: set[asyncio.Task[None]] = field(default_factory=set)

    async def execute(self) -> None:
        """Run all steps; `parts` holds what was done, also if it fails.

        Raises
        ------
        StandardPathRefused
            The standard path could not serve.
        ConstituentFailed
            A constituent answered with an error, or not at all.
        ClientGone
            It was abandoned before all was done.
        """
        last = last_step_of(self.steps)
        try:
            for number, step in enumerate(self.steps):
                self._refuse_if_gone()
                body = self._body()
                async with asyncio.TaskGroup() as group:
                    for name in dict.fromkeys(step):
                        group.create_task(self.call(name, body, last[name] == number))
        except ExceptionGroup as errors:
            known, bugs = errors.split(_WORST_FIRST)
            if known is None:
                raise
            if bugs is not None:
                extra = {"action": "request_failed"}
                logger.exception("%s failed", self.request_id, extra=extra)
            raise _worst(known) from None
        finally:
            self.close()

    def abandon(self) -> None:
        """Begin nothing more, and wait for no instance: the client went away.

        A call in flight is finished, since the instance serves it anyway.
        """
        self._gone = True
        for wait in self._waits:
            wait.cancel()

    async def unless_gone(self, wait: Coroutine[Any, Any, None]) -> None:
        """Wait as long as the client does; raises `ClientGone`.

        Whatever is waited for has to be kept by `wait` itself: this may be cancelled as it ends.
        """
        task = asyncio.create_task(wait)
        self._waits.add(task)
        if self._gone:
            task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            self._refuse_if_gone()
            raise
        finally:
            self._waits.discard(task)

    def _refuse_if_gone(self) -> None:
        if self._gone:
            raise ClientGone("the client went away")

    @abc.abstractmethod
    async def call(self, constituent: str, body: bytes, is_last: bool) -> None:
        """Call a constituent with this body; `is_last` if no later step needs it."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release what is still claimed."""

    def part_of(self, constituent: str) -> Part:
        """What a constituent did as measured; one that was never reached counts as cold."""
        return self.parts.get(constituent) or Part(service=constituent, warm=False)

    async def post(
        self,
        constituent: str,
        url: str | URL,
        body: bytes,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[Raw, aiohttp.ClientResponse]:
        """Call a constituent at a URL; returns its answer, as it is written, and the response."""
        limit = until(self.deadline_ms)
        headers = {**(headers or {}), "content-type": "application/json"}
        try:
            async with self.session.post(
                url, data=body, headers=headers, timeout=limit, allow_redirects=False
            ) as response:
                answer = await _answer_of(response)
        except TimeoutError:
            raise ConstituentLate(f"{constituent} did not answer in time") from None
        except aiohttp.ClientConnectionError:
            raise
        except _UNREADABLE as error:
            raise ConstituentFailed(f"{constituent} did not answer with JSON: {error}") from error
        return answer, response

    def keep(self, constituent: str, answer: Raw, status: int) -> None:
        """Keep an answer for the user; raises `ConstituentFailed` where it is none."""
        if not _is_success(status):
            raise ConstituentFailed(f"{constituent} answered with {status}")
        self.answers[constituent] = answer

    def _body(self) -> bytes:
        """What the user sent, and beside it what only foremesh knows: for all of a step."""
        added = {
            "request_id": self.request_id,
            "parameters": dict(self.parameters),
            "inputs": self.answers,
        }
        return msgspec.json.encode({**self.values, **added})


def last_step_of(steps: Steps) -> dict[str, int]:
    """The last step that needs each constituent: after it, its instance is released."""
    return {name: number for number, step in enumerate(steps) for name in step}


def _is_success(status: int) -> bool:
    return 200 <= status < 300  # a redirect is for a browser: nothing was done


async def _answer_of(response: aiohttp.ClientResponse) -> Raw:
    """What it says; null of an error in another form than JSON, of which its status tells enough."""
    try:
        return await json_answer(response)
    except aiohttp.ClientConnectionError:
        raise
    except _UNREADABLE:
        if _is_success(response.status):
            raise
        return Raw(b"null")


def _worst(errors: ExceptionGroup[Exception]) -> Exception:
    return next(e for kind in _WORST_FIRST for e in errors.exceptions if isinstance(e, kind))
