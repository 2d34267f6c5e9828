"""Which requests of a user were heard of, so that none counts again."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any, Self

from streams.models.recent_requests import RecentRequests, digest_of
from streams.models.state_bytes import StateReader, StateWriter
from streams.records import Feedback, Prediction
from streams.stages.base import believed_ms

__all__ = ["HeardUser", "is_new"]

LATE_MS = 600_000  # most that a request takes: its feedback is told when it has ended


@dataclass(slots=True)
class HeardUser:
    """A user whose requests are counted."""

    last_ms: int = -1  # the latest of their times
    recent: RecentRequests = field(default_factory=RecentRequests)

    def take(self, record: Prediction | Feedback, record_ms: int) -> bool:
        """Whether a record is new; from now on it is not.

        As `RecentRequests` tells, except that feedback up to ten minutes late is not taken for an
        old one: the slow starts are what is to be learnt.
        """
        made_ms = record.made_ms if isinstance(record, Prediction) else record.at_ms
        at_ms = believed_ms(made_ms, record_ms)
        latest_ms = max(self.last_ms, at_ms)
        late_ms = LATE_MS if isinstance(record, Feedback) else 0
        digest = digest_of(record.request_id, _told_of(record))
        new = self.recent.take(digest, min(at_ms + late_ms, latest_ms), latest_ms)
        if new:
            self.last_ms = latest_ms
        return new

    def form(self) -> list[Any]:
        """What to write of it; see `of`."""
        out = StateWriter()
        self.recent.write(out)
        return [self.last_ms, bytes(out.data)]

    @classmethod
    def of(cls, form: list[Any]) -> Self:
        """The user of what `form` made."""
        last_ms, recent = form
        return cls(last_ms, RecentRequests.read(StateReader(recent)))


def _told_of(record: Prediction | Feedback) -> str:
    """What a record tells of its request; the service too, for an id may be another's."""
    return record.asked if isinstance(record, Prediction) else f"started/{record.service}"


def is_new(record: Prediction | Feedback, state: MutableMapping[str, Any], record_ms: int) -> bool:
    """Whether this tells of a request of which no such record was taken; from now on one was.

    State: `h/<user>` the `HeardUser`.
    """
    key = f"h/{record.user}"
    row = state.get(key)
    heard = row if isinstance(row, HeardUser) else HeardUser()
    new = heard.take(record, record_ms)
    if new:
        state[key] = heard
    return new
