"""A champion and its challenger side by side: what each would have saved, and what it would cost."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Score", "Trial"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one of the two has come to, on paper, against starting everything on request."""

    variant: str  # its name
    requests: int = 0
    cold_ms: int = 0  # that they waited for starts
    saved_ms: int = 0  # that they would have waited more without what was warm
    warm_ms: int = 0  # of all instances
    wasted_ms: int = 0  # of these, not serving
    worth: float = 0.0  # of what was saved, by tier, in the unit of the prices
    cost: float = 0.0  # of what was warm, at the catalogue's prices

    @property
    def net(self) -> float:
        """What it is better than starting on request."""
        return self.worth - self.cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The scores of a pool's champion and challenger; the last record holds."""

    pool: str
    since_ms: int  # both began with the instances of then
    at_ms: int
    scores: tuple[Score, ...]  # the champion first
