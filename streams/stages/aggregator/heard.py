"""Which requests of a user were counted, so that none counts again."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any, Self

from streams.models.recent_requests import RecentRequests, digest_of
from streams.models.state_bytes import StateReader, StateWriter
from streams.records import Feedback
from streams.stages.base import believed_ms

__all__ = ["HeardUser", "is_new"]

LATE_MS = 600_000  # most that a request takes: its feedback is told when it has ended


@dataclass(slots=True)
class HeardUser:
    """A user whose requests are counted."""

    last_ms: int = -1  # the latest of their times
    recent: RecentRequests = field(default_factory=RecentRequests)

    def take(self, feedback: Feedback, record_ms: int) -> bool:
        """Whether a request is new; from now on it is not.

        As `RecentRequests` tells, except that one of which the feedback comes up to ten minutes
        late is not taken for an old one: the slow starts are what is to be learnt.
        """
        at_ms = believed_ms(feedback.at_ms, record_ms)
        latest_ms = max(self.last_ms, at_ms)
        digest = digest_of(feedback.request_id, feedback.service)
        new = self.recent.take(digest, min(at_ms + LATE_MS, latest_ms), latest_ms)
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


def is_new(feedback: Feedback, state: MutableMapping[str, Any], record_ms: int) -> bool:
    """Whether this is of a request that was not counted; from now on it was.

    State: `h/<user>` the `HeardUser`.
    """
    key = f"h/{feedback.user}"
    row = state.get(key)
    heard = row if isinstance(row, HeardUser) else HeardUser()
    new = heard.take(feedback, record_ms)
    if new:
        state[key] = heard
    return new
