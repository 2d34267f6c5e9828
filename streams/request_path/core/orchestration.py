"""A composite request: its constituents in steps, each called at an instance of its own."""

from __future__ import annotations

import abc
import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
from yarl import URL

from streams.catalog.critical_path import Steps
from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Instance, Part
from streams.request_path.core.claims import ClaimableInstance, InstanceClaims
from streams.request_path.core.retries import MAYBE_SERVED, is_unserved
from streams.request_path.core.standard_path import StandardPath
from streams.runtime.clock import wall_ms

__all__ = ["ClaimingRun", "CompositeRun", "ConstituentFailed", "last_step_of", "start_up_ms_since"]


class ConstituentFailed(Exception):
    """A constituent did not do its part; the message says which and how."""


@dataclass(slots=True, eq=False, kw_only=True)
class CompositeRun(abc.ABC):
    """One request on its way through its steps.

    Parameters
    ----------
    request_id, steps, deadline_ms
        What is to be done, and by when (milliseconds since the epoch).
    body
        What every constituent is told; the answers of earlier steps are added as `inputs`.
    idempotent
        A constituent that may have done its part already may be asked again.
    """

    request_id: str
    steps: Steps
    deadline_ms: int
    body: Mapping[str, Any]
    session: aiohttp.ClientSession
    idempotent: bool
    answers: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)

    async def go(self) -> None:
        """Run all steps; the parts tell what was done, also when it fails.

        Raises
        ------
        StandardPathRefused
            The standard path could not serve.
        Failed
            A constituent answered with an error, or not at all.
        """
        last = last_step_of(self.steps)
        try:
            for number, step in enumerate(self.steps):
                inputs = dict(self.answers)
                async with asyncio.TaskGroup() as group:
                    for service in dict.fromkeys(step):
                        group.create_task(self.call(service, inputs, last[service] == number))
        except* (StandardPathRefused, ConstituentFailed) as group_of_errors:
            raise _first(group_of_errors) from None
        finally:
            self.end()

    @abc.abstractmethod
    async def call(self, service: str, inputs: dict[str, Any], is_last: bool) -> None:
        """Have a constituent do its part, for the last time or not."""

    @abc.abstractmethod
    def end(self) -> None:
        """Let go of what is still held."""

    def part(self, service: str) -> Part:
        """A part as measured; one never reached counts as cold."""
        return self.parts.get(service) or Part(service=service, warm=False)

    async def post(
        self,
        service: str,
        url: str | URL,
        inputs: dict[str, Any],
        headers: Mapping[str, str] | None = None,
    ) -> tuple[Any, aiohttp.ClientResponse]:
        """Ask for a part at an address; its answer as JSON, and the response."""
        body = {**self.body, "inputs": inputs}
        limit = aiohttp.ClientTimeout(total=max(0.001, (self.deadline_ms - wall_ms()) / 1000))
        try:
            async with self.session.post(url, json=body, headers=headers, timeout=limit) as answer:
                told = await answer.json(content_type=None)
        except TimeoutError:
            raise ConstituentFailed(f"{service} did not answer in time") from None
        except aiohttp.ClientConnectionError:
            raise
        except (aiohttp.ClientError, ValueError) as error:
            raise ConstituentFailed(f"{service} did not answer with JSON: {error}") from error
        return told, answer


@dataclass(slots=True, eq=False, kw_only=True)
class ClaimingRun(CompositeRun):
    """A run that calls instances itself: those claimed when it came, the others when it waited.

    Parameters
    ----------
    claimed
        Instances claimed for it when it came, by constituent.
    """

    claimed: Mapping[str, ClaimableInstance]
    claims: InstanceClaims
    standard: StandardPath
    _leases: dict[str, ClaimableInstance] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._leases = dict(self.claimed)

    def end(self) -> None:
        """Give back what is still held."""
        for lease in self._leases.values():
            self.claims.give_back(lease, 0)

    def part(self, service: str) -> Part:
        """A part as measured; one never reached is as it was claimed."""
        return self.parts.get(service) or Part(service=service, warm=service in self.claimed)

    async def call(self, service: str, inputs: dict[str, Any], is_last: bool) -> None:
        """Call the instance that was claimed; when there is none, or it is dead, wait for one.

        One that died while it served has perhaps done its part: that is no reason to do it twice.
        """
        if service in self._leases:
            self.parts.setdefault(service, Part(service=service, warm=True))
            try:
                await self._call(service, inputs)
            except aiohttp.ClientConnectionError as error:
                self._lose(service)  # it died, and nobody has said so yet
                if not (self.idempotent or is_unserved(error)):
                    raise ConstituentFailed(f"{service} {MAYBE_SERVED}") from error
                await self._cold(service, inputs)
        else:
            await self._cold(service, inputs)
        if is_last and (lease := self._leases.pop(service, None)):
            self.claims.give_back(lease, self.parts[service].serve_ms)

    async def _cold(self, service: str, inputs: dict[str, Any]) -> None:
        """Wait for an instance; when that one is dead too the request fails."""
        came_ms = wall_ms()
        self.parts[service] = Part(service=service, warm=False)
        lease = await self.standard.lease(service, self.request_id, self.deadline_ms)
        self._leases[service] = lease
        self.parts[service] = Part(
            service=service,
            warm=False,
            wait_ms=wall_ms() - came_ms,
            warm_up_ms=start_up_ms_since(lease.instance, came_ms),
        )
        try:
            await self._call(service, inputs)
        except aiohttp.ClientConnectionError as error:
            self._lose(service)
            raise ConstituentFailed(f"{service} does not answer: {error}") from error

    def _lose(self, service: str) -> None:
        self.claims.lose(self._leases.pop(service))

    async def _call(self, service: str, inputs: dict[str, Any]) -> None:
        instance = self._leases[service].instance
        began = time.perf_counter()
        told, answer = await self.post(service, instance.endpoint, inputs)
        if answer.status >= 400:
            raise ConstituentFailed(f"{service} answered with {answer.status}")
        self.answers[service] = told
        took_ms = round((time.perf_counter() - began) * 1000)
        part = self.parts[service]
        self.parts[service] = replace(
            part, instance_id=instance.instance_id, serve_ms=part.serve_ms + took_ms
        )


def start_up_ms_since(instance: Instance, came_ms: int) -> int | None:
    """Its start-up time, when it became warm while the request waited."""
    since = instance.warm_since_ms
    return None if since is None or since < came_ms else since - instance.started_ms


def last_step_of(steps: Steps) -> dict[str, int]:
    """The last step that needs each constituent: then its instance is given back."""
    return {service: number for number, step in enumerate(steps) for service in step}


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an empty group")
