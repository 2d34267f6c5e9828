"""Stage "feedback": takes out of outcomes the start-up times that aggregator and allocator learn."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping

from streams.records import Feedback, MeasuredWarmUp, Outcome, Part, Record
from streams.stages.admission import admit_outcome
from streams.stages.base import EventDriven, StepContext

__all__ = ["FeedbackStage"]


class FeedbackStage(EventDriven):
    """Stage "feedback": measured start-up times, by the request that waited for them."""

    name = "feedback"

    def step(
        self, event: Record, state: MutableMapping[str, None], context: StepContext
    ) -> Iterable[Record]:
        """Make the feedback of an outcome."""
        del state, context
        assert isinstance(event, Outcome)
        admit_outcome(event)
        return (_feedback(event),)

    def encode(self, value: None) -> bytes:
        """No state, no bytes."""
        del value
        return b""

    def decode(self, data: bytes) -> None:
        """No state; earlier releases kept a drift detector a user, which no longer counts."""
        del data


def _feedback(outcome: Outcome) -> Feedback:
    return Feedback(
        request_id=outcome.request_id,
        user=outcome.user,
        tier=outcome.tier,
        pool=outcome.pool,
        service=outcome.service,
        at_ms=outcome.at_ms,
        result=outcome.result,
        warm_ups=_measured(outcome.parts),
    )


def _measured(parts: Iterable[Part]) -> tuple[MeasuredWarmUp, ...]:
    times: dict[str, list[int]] = {}
    for part in parts:
        if part.warm_up_ms is not None:
            times.setdefault(part.service, []).append(part.warm_up_ms)
    return tuple(
        MeasuredWarmUp(
            service=service,
            count=len(values),
            total_ms=sum(values),
            squares_ms2=float(sum(v * v for v in values)),
        )
        for service, values in times.items()
    )
