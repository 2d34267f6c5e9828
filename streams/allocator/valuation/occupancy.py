"""Probability that all of so many instances are busy, by Erlang's loss formula."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "uses_by_level"]

Floats = NDArray[np.float64]


def uses_by_level(
    mean: Floats, load: Floats, at_once: NDArray[np.int64], most: int, least: Floats
) -> Floats:
    """Expected uses of the first, second, ... instance; a row per mean.

    The first instance is used by any request; a further one by those that arrive while all before
    it are busy. Requests that find all busy start another instance, so those before it see a loss
    system: Erlang's B formula, insensitive to the distribution of service times (Takács, Annals of
    Mathematical Statistics 40(1), 1969), by its recursion in the number of servers.

    Parameters
    ----------
    mean
        Expected requests within the horizon, shape (n,).
    load
        Mean number of requests in service at a time, shape (n,).
    at_once
        Requests that one instance serves at the same time, shape (n,).
    most
        Most instances.
    least
        A further instance with fewer expected uses counts as unused, as do all after it.

    Returns
    -------
    Shape (n, k), where k instances are used by some row at least.
    """
    columns, busy, servers = [mean], np.ones_like(mean), np.zeros_like(at_once)
    limit = np.maximum(least, np.finfo(np.float64).tiny)
    left = mean * load >= limit  # all are busy at most as often as one alone would be
    while len(columns) < most and left.any():
        for place in range(1, int(at_once[left].max()) + 1):
            more = load * busy
            busy = np.where(place <= at_once, more / (servers + place + more), busy)
        servers = servers + at_once
        uses = np.where(left, mean * busy, 0.0)
        left = uses >= limit
        columns.append(np.where(left, uses, 0.0))
    return np.stack(columns[: max(1, len(columns) - (not columns[-1].any()))], axis=1)
