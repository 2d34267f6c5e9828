"""From outcomes to what profiler and allocator learn of them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field

from river.drift.binary import HDDMA
from river.stats import Mean

from streams.records import Feedback, MeasuredWarmUp, Outcome, Part, Record, Result
from streams.stages.base import Context

__all__ = ["Config", "FeedbackStage", "UserHits"]

VERSION = 1
ROW = struct.Struct("<BdQdQd?")  # version, hit rate, then the detector's two means and its flag


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Parameters of the stage."""

    fading: float = 0.1  # weight of the newest outcome in a user's hit rate


@dataclass(slots=True)
class UserHits:
    """What is remembered of a user.

    The detector is HDDM-A (Frías-Blanco et al., IEEE TKDE 27(3), 2015): it has the guarantee of
    Hoeffding's bound, as ADWIN has, is one-sided (only more misses count), and its state is two
    means, where ADWIN's is a list of histograms that can only be pickled.
    """

    hit_rate: float = 1.0
    misses: HDDMA = field(default_factory=HDDMA)


class FeedbackStage:
    """Stage "feedback": a user's hit rate, whether it has broken down, and measured start-ups."""

    name = "feedback"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()

    def step(
        self, event: Record, state: MutableMapping[str, UserHits], context: Context
    ) -> Iterable[Record]:
        """Take an outcome in."""
        del context
        assert isinstance(event, Outcome)
        key = f"u/{event.user}"
        hit = event.result is Result.HIT
        user = state.get(key) or UserHits(hit_rate=float(hit))
        user.hit_rate += self.config.fading * (hit - user.hit_rate)
        user.misses.update(not hit)
        state[key] = user
        return (_feedback(event, user),)

    def tick(
        self, now_ms: int, state: MutableMapping[str, UserHits], context: Context
    ) -> Iterable[Record]:
        """Say nothing: there is nothing to learn from silence."""
        del now_ms, state, context
        return ()

    def encode(self, value: UserHits) -> bytes:
        """42 bytes a user."""
        least, all_ = value.misses._x_min, value.misses._z  # noqa: SLF001 river offers no other way
        means = (int(least.n), least.get(), int(all_.n), all_.get())
        return ROW.pack(VERSION, value.hit_rate, *means, value.misses.drift_detected)

    def decode(self, data: bytes) -> UserHits:
        """The user of these bytes."""
        if len(data) != ROW.size or data[0] != VERSION:
            raise ValueError(f"{len(data)} bytes are no feedback state of version {VERSION}")
        _, hit_rate, least_n, least, n, mean, drift = ROW.unpack(data)
        misses = HDDMA()
        misses._x_min = Mean._from_state(least_n, least)  # noqa: SLF001 as above
        misses._x_max = Mean._from_state(n, mean)  # noqa: SLF001 unused by the one-sided test
        misses._z = Mean._from_state(n, mean)  # noqa: SLF001 as above
        misses._drift_detected = drift  # noqa: SLF001 as above
        return UserHits(hit_rate, misses)


def _feedback(outcome: Outcome, user: UserHits) -> Feedback:
    return Feedback(
        request_id=outcome.request_id,
        user=outcome.user,
        tier=outcome.tier,
        pool=outcome.pool,
        service=outcome.service,
        at_ms=outcome.at_ms,
        result=outcome.result,
        cold_ms=outcome.cold_ms,
        saved_ms=outcome.saved_ms,
        hit_rate=user.hit_rate,
        drift=user.misses.drift_detected,
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
