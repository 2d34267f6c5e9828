"""Probability that all of so many instances are busy, by Erlang's loss formula."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "fill_uses"]

Floats = NDArray[np.float64]

_TINY = float(np.finfo(np.float64).tiny)


def fill_uses(uses: Floats, mean: float, load: float, at_once: int, least: float) -> int:
    """Fill in the expected uses of the first, second, ... instance; the number of those used.

    The first instance is used by any request; a further one by those that arrive while all before
    it are busy. Requests that find all busy start another instance, so those before it see a loss
    system: Erlang's B formula, insensitive to the distribution of service times (Takács, Annals of
    Mathematical Statistics 40(1), 1969), by its recursion in the number of servers.

    Parameters
    ----------
    uses
        Filled in: of as many instances as it has places, 0 for those that are not used.
    mean
        Expected requests within the horizon.
    load
        Mean number of requests in service at a time.
    at_once
        Requests that one instance serves at the same time.
    least
        A further instance with fewer expected uses counts as unused, as do all after it.
    """
    uses[:] = 0.0
    uses[0] = mean
    limit, busy, servers, used = max(least, _TINY), 1.0, 0, 1
    if mean * load < limit:  # all are busy at most as often as one alone would be
        return used
    while used < len(uses):
        for place in range(1, at_once + 1):
            more = load * busy
            busy = more / (servers + place + more)
        servers += at_once
        if mean * busy < limit:
            break
        uses[used] = mean * busy
        used += 1
    return used
