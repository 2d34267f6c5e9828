"""The gateway without Envoy: it claims instances, and calls them itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import aiohttp
from msgspec import Raw

from streams.adapters.kafka.broker_watch import BrokerWatch
from streams.adapters.metrics.outcomes import count
from streams.records import Outcome, Part, Request
from streams.records.catalog import Catalog, Composite
from streams.request_path.core.claims import ClaimableInstance, InstanceClaims
from streams.request_path.core.event_buffer import EventBuffer
from streams.request_path.core.headers import priority_of
from streams.request_path.core.orchestration import (
    CompositeRun,
    ConstituentFailed,
    ConstituentLate,
)
from streams.request_path.core.retries import MAYBE_SERVED, is_unserved
from streams.request_path.core.standard_path import StandardPath
from streams.request_path.core.start_up_times import start_up_ms_since
from streams.request_path.core.warm_pool import WarmPool
from streams.request_path.gateway.routes import RequestHandler
from streams.runtime.clock import ms_since, wall_ms
from streams.stages.interceptor import intercept

__all__ = ["ClaimingRequestHandler", "ClaimingRun"]


@dataclass(slots=True, eq=False, kw_only=True)
class ClaimingRun(CompositeRun):
    """A run that calls instances: those claimed when it began, others from the standard path.

    Parameters
    ----------
    claimed
        Instances claimed when the request arrived, by constituent.
    claims, standard_path
        Where claims are released, and where missing instances come from.
    unanswered
        Takes the claim of an instance that owes an answer, and the deadline of its request.
    priority
        Of the request among those that wait.
    """

    claimed: Mapping[str, ClaimableInstance]
    claims: InstanceClaims
    standard_path: StandardPath
    unanswered: Callable[[ClaimableInstance, int], None]
    priority: int = 0
    _held: dict[str, ClaimableInstance] = field(init=False)
    _since_s: dict[str, float] = field(init=False)  # when each was claimed (time.perf_counter)

    def __post_init__(self) -> None:
        self._held = dict(self.claimed)
        self._since_s = dict.fromkeys(self.claimed, time.perf_counter())

    def close(self) -> None:
        """Release what is still claimed; what was never called was not used."""
        for constituent in [*self._held]:
            if self.part_of(constituent).instance_id:
                self._release(constituent)
            else:
                self.claims.release_unused(self._held.pop(constituent))

    def part_of(self, constituent: str) -> Part:
        """What a constituent did as measured; one that was never reached counts as claimed."""
        never_reached = Part(service=constituent, warm=constituent in self.claimed)
        return self.parts.get(constituent) or never_reached

    async def call(self, constituent: str, body: bytes, is_last: bool) -> None:
        """Call the claimed instance; without one, or if it is dead, use the standard path.

        An instance that died while it served may have done its part: the part is not repeated.
        """
        if constituent in self._held:
            self.parts.setdefault(constituent, Part(service=constituent, warm=True))
            try:
                await self._call_held(constituent, body)
            except aiohttp.ClientConnectionError as error:
                self._discard(constituent)  # dead, though the provisioner has not noticed yet
                if not (self.idempotent or is_unserved(error)):
                    raise ConstituentFailed(f"{constituent} {MAYBE_SERVED}") from error
                await self._call_cold(constituent, body)
        else:
            await self._call_cold(constituent, body)
        if is_last and constituent in self._held:
            self._release(constituent)

    def _release(self, constituent: str) -> None:
        """Release one that has served; it was busy for as long as nobody else could claim it."""
        busy_ms = _ms_after(self._since_s[constituent])
        self.claims.release(self._held.pop(constituent), busy_ms)

    async def _call_cold(self, constituent: str, body: bytes) -> None:
        """Wait for an instance and call it; the request fails if that one is dead, too."""
        arrived_ms = wall_ms()
        self.parts[constituent] = Part(service=constituent, warm=False)
        await self.unless_gone(self._hold(constituent))
        claimed = self._held[constituent]
        self.parts[constituent] = Part(
            service=constituent,
            warm=False,
            wait_ms=ms_since(arrived_ms),
            warm_up_ms=start_up_ms_since(claimed.instance, arrived_ms),
        )
        try:
            await self._call_held(constituent, body)
        except aiohttp.ClientConnectionError as error:
            self._discard(constituent)
            raise ConstituentFailed(f"{constituent} does not answer: {error}") from error

    async def _hold(self, constituent: str) -> None:
        """Wait for an instance; from the moment that it is claimed `close` would release it."""
        self._held[constituent] = await self.standard_path.claim(
            constituent, self.request_id, self.deadline_ms, self.priority
        )
        self._since_s[constituent] = time.perf_counter()

    def _discard(self, constituent: str) -> None:
        self.claims.discard(self._held.pop(constituent))

    async def _call_held(self, constituent: str, body: bytes) -> None:
        instance = self._held[constituent].instance
        began = time.perf_counter()
        try:
            answer, response = await self.post(constituent, instance.endpoint, body)
        except (ConstituentLate, asyncio.CancelledError):  # it may be at it, or hang
            self.unanswered(self._held.pop(constituent), self.deadline_ms)
            raise
        finally:
            part = self.parts[constituent]
            self.parts[constituent] = replace(
                part, instance_id=instance.instance_id, serve_ms=part.serve_ms + _ms_after(began)
            )
        self.keep(constituent, answer, response.status)


def _ms_after(began_s: float) -> int:
    return round((time.perf_counter() - began_s) * 1000)


class ClaimingRequestHandler(RequestHandler):
    """Claims the warm instances when a request arrives; the rest takes the standard path.

    Parameters
    ----------
    pool, deadline_ms
        See `RequestHandler`.
    warm
        The pool's instances.
    session
        Connections to them.
    events
        Takes requests and outcomes.
    broker
        Knows whether Kafka answers.
    """

    def __init__(
        self,
        pool: str,
        deadline_ms: int,
        *,
        warm: WarmPool,
        session: aiohttp.ClientSession,
        events: EventBuffer,
        broker: BrokerWatch,
    ) -> None:
        super().__init__(pool, deadline_ms)
        self._warm, self._broker = warm, broker
        self._session = session
        self._events = events

    @property
    def catalog(self) -> Catalog:
        """The current catalogue."""
        return self._warm.catalog

    @property
    def trusts_tier_header(self) -> bool:
        """As the catalogue says of the pool."""
        return self.catalog.trusts_tier_header(self.pool)

    def start_run(
        self,
        composite: Composite,
        request: Request,
        values: Mapping[str, Raw],
        *,
        idempotent: bool,
    ) -> ClaimingRun:
        """Decide, and claim what the decision found warm, without a pause in between."""
        claims, names = self._warm.claims, composite.constituents
        candidates = {name: claims.candidates(name) for name in names}
        decided = intercept(composite.steps, candidates, request.at_ms, self.start_up_times(names))
        claimed: dict[str, ClaimableInstance] = {}
        for part in decided.parts:
            if part.warm and (one := claims.claim(part.service)):
                claimed[part.service] = one
        return ClaimingRun(
            request_id=request.request_id,
            steps=composite.steps,
            deadline_ms=request.at_ms + self.deadline_ms,
            claimed=claimed,
            parameters=request.parameters,
            values=values,
            claims=claims,
            standard_path=self._warm.standard_path,
            unanswered=self._warm.unanswered.check,
            priority=priority_of(request.tier, self.catalog.tiers),
            session=self._session,
            idempotent=idempotent,
        )

    def start_up_times(self, names: tuple[str, ...]) -> dict[str, int]:
        """Start-up times as measured."""
        return self._warm.claims.start_up_times.of(names, self.catalog)

    def publish(self, record: Request | Outcome) -> None:
        """Send it to Kafka."""
        self._events.put(record)
        if isinstance(record, Outcome):
            count(record)

    def health(self) -> dict[str, int]:
        """Whether Kafka answers, and events by what became of them."""
        events = self._events
        return {
            "kafka": int(not self._broker.away),
            "delivered": events.delivered,
            "dropped": events.dropped,
            "waiting": len(events),
        }
