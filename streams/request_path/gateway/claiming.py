"""The desk of a gateway that claims instances itself."""

from __future__ import annotations

import aiohttp

from streams.records import Outcome, Request
from streams.records.catalog import Catalog, Composite
from streams.request_path.core.claims import ClaimableInstance
from streams.request_path.core.event_buffer import EventBuffer
from streams.request_path.core.orchestration import ClaimingRun
from streams.request_path.core.warm_pool import WarmPool
from streams.request_path.gateway.routes import RequestHandler
from streams.stages.interceptor import intercept

__all__ = ["ClaimingRequestHandler"]


class ClaimingRequestHandler(RequestHandler):
    """Claims what is warm when a request comes; the rest takes the standard path.

    Parameters
    ----------
    pool, deadline_ms
        See `RequestHandler`.
    warm, session, events
        The warm set, the way to its instances, and to Kafka.
    """

    def __init__(
        self,
        pool: str,
        deadline_ms: int,
        *,
        warm: WarmPool,
        session: aiohttp.ClientSession,
        events: EventBuffer,
    ) -> None:
        super().__init__(pool, deadline_ms)
        self._warm = warm
        self._session = session
        self._events = events

    @property
    def catalog(self) -> Catalog:
        """The catalogue as it stands."""
        return self._warm.catalog

    def begin(self, composite: Composite, asked: Request, *, idempotent: bool) -> ClaimingRun:
        """Decide, and claim what the decision found warm, without a pause in between."""
        claims, names = self._warm.claims, composite.constituents
        best = {name: claims.best(name) for name in names}
        found = intercept(composite.steps, best, asked.at_ms, self.usual_ms(names))
        claimed: dict[str, ClaimableInstance] = {}
        for part in found.parts:
            if part.warm and (lease := claims.take(part.service)):
                claimed[part.service] = lease
        return ClaimingRun(
            request_id=asked.request_id,
            steps=composite.steps,
            deadline_ms=asked.at_ms + self.deadline_ms,
            claimed=claimed,
            body={"request_id": asked.request_id, "parameters": dict(asked.parameters)},
            claims=claims,
            standard=self._warm.standard,
            session=self._session,
            idempotent=idempotent,
        )

    def usual_ms(self, names: tuple[str, ...]) -> dict[str, int]:
        """Start-up times as measured."""
        return self._warm.claims.warm_ups.of(names, self.catalog)

    def tell(self, record: Request | Outcome) -> None:
        """Send it to Kafka."""
        self._events.put(record)

    def health(self) -> dict[str, int]:
        """Events by what became of them."""
        events = self._events
        return {
            "delivered": events.delivered,
            "dropped": events.dropped,
            "waiting": len(events),
        }
