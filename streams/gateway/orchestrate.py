"""A composite request: its constituents in steps, each called at an instance of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from streams.gateway.claims import Claims, Lease
from streams.gateway.standard import StandardPath
from streams.provisioners.base import Refused, wall_ms
from streams.records import Instance, Part
from streams.stages.critical_path import Steps

__all__ = ["Failed", "Run", "last_step_of"]


class Failed(Exception):
    """A constituent did not do its part; the message says which and how."""


@dataclass(slots=True, eq=False)
class Run:
    """One request on its way through its steps.

    Parameters
    ----------
    request_id, steps, deadline_ms
        What is to be done, and by when (milliseconds since the epoch).
    claimed
        Instances claimed for it when it came, by constituent.
    body
        What every constituent is told; the answers of earlier steps are added as `inputs`.
    """

    request_id: str
    steps: Steps
    deadline_ms: int
    claimed: Mapping[str, Lease]
    body: Mapping[str, Any]
    claims: Claims
    standard: StandardPath
    session: aiohttp.ClientSession
    answers: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    _leases: dict[str, Lease] = field(default_factory=dict)

    async def go(self) -> None:
        """Run all steps; the parts tell what was done, also when it fails.

        Raises
        ------
        Refused
            The standard path could not serve.
        Failed
            A constituent answered with an error, or not at all.
        """
        self._leases = dict(self.claimed)
        last = last_step_of(self.steps)
        try:
            for number, step in enumerate(self.steps):
                inputs = dict(self.answers)
                async with asyncio.TaskGroup() as group:
                    for service in dict.fromkeys(step):
                        group.create_task(self._part(service, inputs, last[service] == number))
        except* (Refused, Failed) as group_of_errors:
            raise _first(group_of_errors) from None
        finally:
            for lease in self._leases.values():
                self.claims.give_back(lease, 0)

    async def _part(self, service: str, inputs: dict[str, Any], is_last: bool) -> None:
        if service in self._leases:
            self.parts.setdefault(service, Part(service=service, warm=True))
            try:
                await self._call(service, inputs)
            except aiohttp.ClientConnectionError:
                self._lose(service)  # it died, and nobody has said so yet
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
            warm_up_ms=_warm_up_since(lease.instance, came_ms),
        )
        try:
            await self._call(service, inputs)
        except aiohttp.ClientConnectionError as error:
            self._lose(service)
            raise Failed(f"{service} does not answer: {error}") from error

    def _lose(self, service: str) -> None:
        self.claims.lose(self._leases.pop(service))

    async def _call(self, service: str, inputs: dict[str, Any]) -> None:
        instance = self._leases[service].instance
        began = time.perf_counter()
        self.answers[service] = await self._post(instance, {**self.body, "inputs": inputs})
        took_ms = round((time.perf_counter() - began) * 1000)
        part = self.parts[service]
        self.parts[service] = replace(
            part, instance_id=instance.instance_id, serve_ms=part.serve_ms + took_ms
        )

    async def _post(self, instance: Instance, body: dict[str, Any]) -> Any:
        limit = aiohttp.ClientTimeout(total=max(0.001, (self.deadline_ms - wall_ms()) / 1000))
        try:
            async with self.session.post(instance.endpoint, json=body, timeout=limit) as answer:
                told = await answer.json(content_type=None)
        except TimeoutError:
            raise Failed(f"{instance.service} did not answer in time") from None
        except aiohttp.ClientConnectionError:
            raise
        except (aiohttp.ClientError, ValueError) as error:
            raise Failed(f"{instance.service} did not answer with JSON: {error}") from error
        if answer.status >= 400:
            raise Failed(f"{instance.service} answered with {answer.status}")
        return told


def _warm_up_since(instance: Instance, came_ms: int) -> int | None:
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
