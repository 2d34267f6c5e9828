"""The HTTP client of the provisioner: starts of the standard path, and reports of use."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import aiohttp

from streams.provisioners.core.interface import InstanceUse, StandardPathRefused
from streams.records import Instance, InstanceState
from streams.runtime.access import credentials
from streams.runtime.clock import wall_ms
from streams.runtime.json_body import BODY_UNREADABLE
from streams.settings import Settings

__all__ = ["ProvisionerAway", "ProvisionerClient", "instance_of", "until"]

logger = logging.getLogger(__name__)

_USE = [field.name for field in fields(InstanceUse)]
_INSTANCE = {field.name for field in fields(Instance)}
_NO_INSTANCE = (  # what an answer raises that is none
    *(AttributeError, KeyError, TypeError, ValueError, RecursionError),
    *BODY_UNREADABLE,
)
_NOT_LET_IN = {401, 403, 415, 421}
_AT_ONCE = 500  # instances of a report: with long names less than a provisioner takes
_SEEN_S = 10.0  # between two looks at one outage
_REPORT_TIMEOUT = aiohttp.ClientTimeout(total=2)


class ProvisionerAway(StandardPathRefused):
    """The provisioner takes no connections, as one that starts again: it was asked for nothing.

    Parameters
    ----------
    reason
        What to tell the user.
    for_s
        For how long that has been so.
    """

    def __init__(self, reason: str, for_s: float) -> None:
        super().__init__(reason)
        self.for_s = for_s


class ProvisionerClient:
    """Asks the provisioner for instances, and reports what requests do with them.

    Parameters
    ----------
    session
        Connections to use.
    settings
        Where the provisioner is, and what to bring.
    """

    def __init__(self, session: aiohttp.ClientSession, settings: Settings) -> None:
        self._session = session
        self._url = settings.provisioner.rstrip("/")
        self._brings = credentials(settings, self._url)
        self._refused = False
        # Since when nobody listens there, and when that was seen last (monotonic).
        self._away_since_s = self._away_seen_s = float("-inf")

    async def start(
        self,
        constituent: str,
        request_id: str,
        deadline_ms: int,
        known: Sequence[str],
        *,
        pool: str,
    ) -> Instance:
        """Have an instance started, and wait until it is warm.

        Parameters
        ----------
        constituent, request_id, deadline_ms
            Of which an instance is needed, for which request, and until when.
        known
            Instances that the caller has already.
        pool
            The pool of the instance; a provisioner of another one refuses.

        Raises
        ------
        ProvisionerAway
            It cannot be connected to.
        StandardPathRefused
            The provisioner has no room, does not answer, or was not ready by the deadline.
        """
        body = {
            "service": constituent,
            "request_id": request_id,
            "deadline_ms": deadline_ms,
            "known": known,
            "pool": pool,
        }
        try:
            async with self._post("/standard", body, until(deadline_ms)) as answer:
                self._away_seen_s = float("-inf")
                content = await answer.json()
                if answer.status == 200:
                    return instance_of(content)
                after = int(answer.headers.get("Retry-After", "1"))
                reason = str(content.get("error", answer.reason))
                raise StandardPathRefused(reason, retry_after_s=after)
        except TimeoutError:
            raise StandardPathRefused(f"no instance of {constituent} was ready in time") from None
        except aiohttp.ClientError as error:
            reason = f"the provisioner at {self._url} does not answer: {error}"
            if _is_away(error):
                raise ProvisionerAway(reason, self._away_s()) from error
            raise StandardPathRefused(reason) from error
        except _NO_INSTANCE as error:
            raise StandardPathRefused(
                f"the provisioner at {self._url} answers with no instance: {error!r}"
            ) from error

    async def report(self, uses: Sequence[InstanceUse]) -> Sequence[InstanceUse]:
        """Report the use of instances; returns what did not arrive."""
        for first in range(0, len(uses), _AT_ONCE):
            # `asdict` copies each value deeply, which takes six times as long.
            some = [{n: getattr(use, n) for n in _USE} for use in uses[first : first + _AT_ONCE]]
            try:
                async with self._post("/use", {"uses": some}, _REPORT_TIMEOUT) as answer:
                    self._away_seen_s = float("-inf")
                    await self._tell_if_refused(answer)
                    answer.raise_for_status()
            except (aiohttp.ClientError, TimeoutError) as error:
                if _is_away(error):
                    self._away_s()
                return uses[first:]
        return ()

    def _post(self, path: str, body: object, limit: aiohttp.ClientTimeout) -> Any:
        brings = self._brings
        return self._session.post(
            self._url + path, json=body, timeout=limit, headers=brings.headers, ssl=brings.tls
        )

    def _away_s(self) -> float:
        """For how long nobody has listened there; what was seen long ago was another outage."""
        now_s = time.monotonic()
        if now_s - self._away_seen_s > _SEEN_S:
            self._away_since_s = now_s
        self._away_seen_s = now_s
        return now_s - self._away_since_s

    async def _tell_if_refused(self, answer: aiohttp.ClientResponse) -> None:
        """Say once that reports of use are not let in; requests for instances say so themselves."""
        refused = answer.status in _NOT_LET_IN
        if refused and not self._refused:
            extra = {"action": "refused"}
            logger.warning("%s refuses: %s", self._url, await answer.text(), extra=extra)
        self._refused = refused


def _is_away(error: Exception) -> bool:
    unsafe = isinstance(error, aiohttp.ClientSSLError)  # which no wait mends
    return isinstance(error, aiohttp.ClientConnectorError) and not unsafe


def instance_of(answer: dict[str, Any]) -> Instance:
    """The instance in a JSON answer; fields that this version does not know are ignored."""
    values = {name: value for name, value in answer.items() if name in _INSTANCE}
    return Instance(**{**values, "state": InstanceState(values["state"])})


def until(deadline_ms: int, *, grace_s: float = 0.0) -> aiohttp.ClientTimeout:
    """A timeout that ends at a deadline (milliseconds since the epoch), or so much later."""
    return aiohttp.ClientTimeout(total=max(0.001, (deadline_ms - wall_ms()) / 1000) + grace_s)
