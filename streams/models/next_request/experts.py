"""The experts of the mixture, and what each backs off to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = [
    "CONDITIONAL",
    "COUNTED",
    "EXPERTS",
    "INITIAL_WEIGHTS",
    "ORDERS",
    "PARENTS",
    "PHASED",
    "SHARED",
    "USER",
    "M",
]

ORDERS = np.array([0, 1, 2, 3, 5])  # of a user's own contexts, in requests
# expert -> the experts it backs off to, in equal parts
_PARENTS: Mapping[str, tuple[str, ...]] = {
    "popular": (),
    "global-1": ("popular",),
    "global-2": ("global-1",),
    "global-3": ("global-2",),
    "global-5": ("global-3",),
    "pace": ("global-2",),
    "hour": ("global-1",),
    "cohort": ("global-1",),  # users whose first request was for the same service
    "parameters": ("global-1",),  # of the last request
    # what came in the same phase of a silence, after the last service and the last two
    "phase-1": ("global-1",),
    "phase-2": ("pace",),
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
COUNTED = tuple(_PARENTS)  # experts made of counts; the two before them are not
SHARED = COUNTED[: COUNTED.index("recent")]  # counted over all users
USER = COUNTED.index("user-0")
PARENTS = np.array(
    [([COUNTED.index(p) for p in parents] * 2 or [-1, -1])[:2] for parents in _PARENTS.values()]
)
# The mean weights over the first 30 % of three traces: where all users start. 0 where a start
# from the mean was no better there.
INITIAL_WEIGHTS: Mapping[str, float] = {
    "recurrence": 0.12,
    "kind": 0.1,
    "popular": 0.05,
    "global-1": 0.13,
    "global-2": 0.02,
    "global-3": 0.03,
    "global-5": 0.1,
    "pace": 0.1,
    "hour": 0.0,
    "cohort": 0.0,
    "parameters": 0.0,
    "phase-1": 0.0,
    "phase-2": 0.0,
    "first-0": 0.0,
    "first-1": 0.0,
    "recent": 0.03,
    "user-0": 0.05,
    "user-1": 0.05,
    "user-2": 0.04,
    "user-3": 0.04,
    "user-5": 0.1,
}
EXPERTS = tuple(INITIAL_WEIGHTS)
M = len(EXPERTS)
PHASED = (SHARED.index("phase-1"), SHARED.index("phase-2"))  # those that know of the phase
# These predict under the condition of a first use, or of a phase: worth mixing, but no forecast of
# what comes next.
CONDITIONAL = ("first-0", "first-1", "phase-1", "phase-2")
