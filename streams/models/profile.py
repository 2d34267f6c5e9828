"""What is remembered of one user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from streams.models.gaps import Gaps
from streams.models.history import History
from streams.models.wire import Reader, Writer

__all__ = ["Pending", "Profile", "Vector"]

Vector = npt.NDArray[np.float32]

PENDING = 8  # requests that may wait for their feedback; an older one is forgotten


@dataclass(frozen=True, slots=True)
class Pending:
    """A prediction that was scored and waits for its feedback."""

    request_id: str
    contexts: tuple[str, ...]  # weight rows that made it
    bucket: int  # of the top probability
    surprise: float  # by how much its hit, 1 or 0, exceeded it, to half precision
    gradient: Vector  # of the log-loss by each member's weight, to half precision


class Profile:
    """A user's history, gaps, own mixture weights and predictions that wait for feedback.

    Parameters
    ----------
    members
        Length of the weight vector.
    history
        The user's requests; an empty one when missing.
    """

    __slots__ = ("gaps", "history", "last_ms", "pace", "pending", "ranks", "weights")

    def __init__(self, members: int, history: History | None = None) -> None:
        self.history = History() if history is None else history
        self.gaps = Gaps()
        self.weights: Vector = np.zeros(members + 1, np.float32)
        self.last_ms = 0
        self.pace = 0  # the last two gaps, coarsely
        self.ranks = 0  # of the last two realised services: two bits each, 0 was a hit
        self.pending: list[Pending] = []

    def wait(self, pending: Pending) -> None:
        """Keep a scored prediction until its feedback comes, the oldest no longer than that."""
        self.pending = [*self.pending[-PENDING + 1 :], pending]

    def settle(self, request_id: str) -> Pending | None:
        """Take out the prediction that the feedback of a request is about."""
        for pending in self.pending:
            if pending.request_id == request_id:
                self.pending = [p for p in self.pending if p is not pending]
                return pending
        return None

    def write(self, out: Writer) -> None:
        """Append this profile."""
        out.shorts(self.history.items)
        out.uints((self.last_ms, self.pace, self.ranks))
        out.floats(self.weights)
        self.gaps.write(out)
        out.uint(len(self.pending))
        for pending in self.pending:
            out.text(pending.request_id)
            out.uint(len(pending.contexts))
            for context in pending.contexts:
                out.text(context)
            out.uint(pending.bucket)
            out.floats(np.append(pending.gradient, pending.surprise), "<f2")

    @classmethod
    def read(cls, data: Reader, history: History) -> Self:
        """The profile that `write` appended, its requests taken in by `history`."""
        for item in data.shorts():
            history.append(item)
        profile = cls(0, history)
        profile.last_ms, profile.pace, profile.ranks = data.uints(3)
        profile.weights = data.floats()
        profile.gaps = Gaps.read(data)
        profile.pending = [_read_pending(data) for _ in range(data.uint())]
        return profile


def _read_pending(data: Reader) -> Pending:
    request_id = data.text()
    contexts = tuple(data.text() for _ in range(data.uint()))
    bucket = data.uint()
    numbers = data.floats("<f2")
    return Pending(request_id, contexts, bucket, float(numbers[-1]), numbers[:-1])
