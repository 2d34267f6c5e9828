"""How likely the next service is one that nobody asked for before."""

from __future__ import annotations

import numpy as np

from streams.models.kernels import Record, Records, inner, record

__all__ = ["NOVELTY", "learn_novelty", "new_novelty", "novelty_of"]

# Decayed: requests that were the first for their service, requests that were their user's first
# for the service, all requests.
NOVELTY = record(new=np.float64, first_uses=np.float64, requests=np.float64)
_FADE = 0.9999  # at each request


def new_novelty() -> Records:
    """Before the first request."""
    return np.array((1.0, 1.0, 2.0), NOVELTY)


@inner
def novelty_of(novelty: Record) -> tuple[float, float]:
    """Probability that the next service is new to all, and that a first use is."""
    return (
        min(novelty.new / novelty.requests, 0.5),
        min(novelty.new / max(novelty.first_uses, 1.0), 0.9),
    )


@inner
def learn_novelty(novelty: Record, new: int, first_use: int) -> None:
    """Count a request: whether it was new to all, and the user's first; in place."""
    novelty.new = novelty.new * _FADE + new
    novelty.first_uses = novelty.first_uses * _FADE + first_use
    novelty.requests = novelty.requests * _FADE + 1.0
