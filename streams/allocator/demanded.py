"""How many instances the demand alone would keep, and how many of them are ready."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DemandedNumber"]


@dataclass(frozen=True, slots=True)
class DemandedNumber:
    """The number of requests whose instances pay by the demand, from decision to decision.

    Attributes
    ----------
    number
        By the latest decision.
    ready
        Those that instances are ready for. It falls a decision late: what serves the request with
        which a user's demand falls is given back after that.
    ready_ms
        When the others are ready; 0 if there are none. Others that come later count with them.
    """

    number: int = 0
    ready: int = 0
    ready_ms: int = 0

    @property
    def settled(self) -> int:
        """The number for which another decision changes nothing; -1 while there is none."""
        return self.number if self.number == self.ready else -1

    @property
    def falls(self) -> bool:
        """Whether the next decision finds fewer ready, whatever has come until then."""
        return self.ready > self.number

    def at(self, now_ms: int) -> DemandedNumber:
        """Without another decision: what was started may be ready."""
        due = self.ready_ms and now_ms >= self.ready_ms
        return DemandedNumber(self.number, self.number) if due else self

    def then(self, number: int, now_ms: int, warm_up_ms: int) -> DemandedNumber:
        """At the next decision, with what is started now ready after `warm_up_ms`."""
        now = self.at(now_ms)
        ready = min(now.ready, max(now.number, number))
        if number <= ready:
            return DemandedNumber(number, ready)
        return DemandedNumber(number, ready, now.ready_ms or now_ms + warm_up_ms)
