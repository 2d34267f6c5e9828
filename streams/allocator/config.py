"""Parameters of the allocator that are no operator's."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AllocatorConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocatorConfig:
    """Parameters of the allocator."""

    tick_ms: int = 1_000  # longest time between two decisions
    horizon_ms: int = 60_000  # default, when no demand names one
    command_ms: int = 10_000  # lifetime of a command; until then it counts as under way
    queue_ms: int = 60_000  # lifetime of a queue command
    serve_ms: float = 1_000.0  # assumed service time until it is measured
    most: int = 64  # most instances per constituent
    starve_ms: int = 120_000  # a want queued for longer goes before all others
    most_verdicts: int = 100  # per decision, of constituents without a command
    hold_ms: int = 60_000  # its instances are then not preempted for this long
