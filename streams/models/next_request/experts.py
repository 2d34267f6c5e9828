"""The members of the mixture, and what each builds on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = [
    "COUNTED",
    "MEMBERS",
    "ORDERS",
    "PARENTS",
    "PARTS",
    "PRIOR",
    "SHARED",
    "SHARED_ORDERS",
    "USER",
]

ORDERS = np.array([0, 1, 2, 3, 5])  # of a user's own contexts, in requests
SHARED_ORDERS = (1, 2, 3, 5)
# member -> the members it backs off to, in equal parts
_PARENTS: Mapping[str, tuple[str, ...]] = {
    "popular": (),
    "global-1": ("popular",),
    "global-2": ("global-1",),
    "global-3": ("global-2",),
    "global-5": ("global-3",),
    "pace": ("global-2",),
    "stream": ("global-1",),
    "hour": ("global-1",),
    "cohort": ("global-1",),  # users whose first request was for the same service
    "told": ("global-1",),  # by the parameters of the last request
    # what others used first of late, and after the same service
    "first-0": ("popular",),
    "first-1": ("first-0",),
    "recent": ("popular",),
    "user-0": ("popular",),
    "user-1": ("user-0", "global-1"),
    "user-2": ("user-1", "global-2"),
    "user-3": ("user-2", "global-3"),
    "user-5": ("user-3", "global-5"),
}
COUNTED = tuple(_PARENTS)
SHARED = COUNTED[: COUNTED.index("recent")]  # counted over all users
USER = COUNTED.index("user-0")
PARENTS = np.array(
    [([COUNTED.index(p) for p in parents] * 2 or [-1, -1])[:2] for parents in _PARENTS.values()]
)
# What the weights come to on average over the first 30 % of three traces: where all users start.
# 0 where a start from it was no better there.
PRIOR: Mapping[str, float] = {
    "recurrence": 0.12,
    "kind": 0.1,
    "popular": 0.05,
    "global-1": 0.03,
    "global-2": 0.02,
    "global-3": 0.03,
    "global-5": 0.1,
    "pace": 0.1,
    "stream": 0.1,
    "hour": 0.0,
    "cohort": 0.0,
    "told": 0.0,
    "first-0": 0.0,
    "first-1": 0.0,
    "recent": 0.03,
    "user-0": 0.05,
    "user-1": 0.05,
    "user-2": 0.04,
    "user-3": 0.04,
    "user-5": 0.1,
}
MEMBERS = tuple(PRIOR)
# These say what comes if it is a first use: worth mixing, but no forecast of what comes next.
PARTS = ("first-0", "first-1")
