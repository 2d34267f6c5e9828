"""Rows of the profiler's state as earlier releases wrote them."""

from __future__ import annotations

import numpy as np

from streams.models.kernels import record
from streams.models.next_request.experts import EXPERTS, M
from streams.models.next_request.state_codec import encode
from streams.models.next_request.user_profile import UserProfile

PHASED = [EXPERTS.index("phase-1"), EXPERTS.index("phase-2")]


def before_phases(profile: UserProfile) -> bytes:
    """The bytes of a profile, from which the experts that know of phases have gone."""
    learnt, former = profile.weights.copy(), (np.float32, (M - len(PHASED),))
    weights = np.zeros(1, record(experts=former, steps=np.float32))
    weights["experts"] = np.delete(learnt["experts"], PHASED, axis=1)
    weights["steps"] = learnt["steps"]
    profile.weights = weights
    data = encode(profile)
    learnt["experts"][:, PHASED] = 0.0
    profile.weights = learnt
    return bytes((3, *data[1:]))
