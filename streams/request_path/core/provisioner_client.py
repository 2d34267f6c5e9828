"""The HTTP client of the provisioner: starts of the standard path, and reports of use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import aiohttp

from streams.provisioners.core.interface import InstanceUse, StandardPathRefused
from streams.records import Instance, InstanceState
from streams.runtime.clock import wall_ms

__all__ = ["ProvisionerClient", "instance_of", "until"]

_USE = [field.name for field in fields(InstanceUse)]
_INSTANCE = {field.name for field in fields(Instance)}
_REPORT_TIMEOUT = aiohttp.ClientTimeout(total=2)


class ProvisionerClient:
    """Asks the provisioner for instances, and reports what requests do with them.

    Parameters
    ----------
    session
        Connections to use.
    url
        The provisioner's base URL.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url.rstrip("/")

    async def start(
        self, constituent: str, request_id: str, deadline_ms: int, known: Sequence[str]
    ) -> Instance:
        """Have an instance started, and wait until it is warm.

        Parameters
        ----------
        constituent, request_id, deadline_ms
            Of which an instance is needed, for which request, and until when.
        known
            Instances that the caller has already.

        Raises
        ------
        Refused
            The provisioner has no room, does not answer, or was not ready by the deadline.
        """
        body = {
            "service": constituent,
            "request_id": request_id,
            "deadline_ms": deadline_ms,
            "known": known,
        }
        try:
            async with self._session.post(
                f"{self._url}/standard", json=body, timeout=until(deadline_ms)
            ) as answer:
                content = await answer.json()
                if answer.status == 200:
                    return instance_of(content)
                after = int(answer.headers.get("Retry-After", "1"))
                reason = str(content.get("error", answer.reason))
                raise StandardPathRefused(reason, retry_after_s=after)
        except TimeoutError:
            raise StandardPathRefused(f"no instance of {constituent} was ready in time") from None
        except (aiohttp.ClientError, ValueError) as error:
            raise StandardPathRefused(
                f"the provisioner at {self._url} does not answer: {error}"
            ) from error

    async def report(self, uses: Iterable[InstanceUse]) -> bool:
        """Report the use of instances; whether the report arrived."""
        # `asdict` copies each value deeply, which takes six times as long.
        body = {"uses": [{name: getattr(use, name) for name in _USE} for use in uses]}
        try:
            async with self._session.post(
                f"{self._url}/use", json=body, timeout=_REPORT_TIMEOUT
            ) as answer:
                answer.raise_for_status()
        except (aiohttp.ClientError, TimeoutError):
            return False
        return True


def instance_of(answer: dict[str, Any]) -> Instance:
    """The instance in a JSON answer; fields that this version does not know are ignored."""
    values = {name: value for name, value in answer.items() if name in _INSTANCE}
    return Instance(**{**values, "state": InstanceState(values["state"])})


def until(deadline_ms: int, *, grace_s: float = 0.0) -> aiohttp.ClientTimeout:
    """A timeout that ends at a deadline (milliseconds since the epoch), or so much later."""
    return aiohttp.ClientTimeout(total=max(0.001, (deadline_ms - wall_ms()) / 1000) + grace_s)
