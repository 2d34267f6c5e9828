"""Scores of a champion and its challenger, simulated side by side on the same requests."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Score", "Trial"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The simulated score of a variant, against starting everything on request."""

    variant: str  # its name
    requests: int = 0
    cold_ms: int = 0  # time that requests waited for starts
    saved_ms: int = 0  # cold-start time that warm instances saved
    warm_ms: int = 0  # warm time of all instances
    wasted_ms: int = 0  # part of it spent idle
    worth: float = 0.0  # value of the time saved, by tier weight, in the unit of the prices
    cost: float = 0.0  # cost of the warm time, at the catalogue's prices

    @property
    def net(self) -> float:
        """Gain over starting on request."""
        return self.worth - self.cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The scores of a pool's champion and challenger; replaces the previous record."""

    pool: str
    since_ms: int  # start of the trial, with the instances of that time
    at_ms: int
    scores: tuple[Score, ...]  # the champion first
