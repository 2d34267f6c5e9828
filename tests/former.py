"""Rows of the profiler's state as earlier releases wrote them."""

from __future__ import annotations

import numpy as np

from streams.models.kernels import record
from streams.models.next_request.experts import EXPERTS
from streams.models.next_request.state_codec import encode
from streams.models.next_request.user_profile import UserProfile

PHASED = [EXPERTS.index("phase-1"), EXPERTS.index("phase-2")]
STREAM = EXPERTS.index("pace") + 1  # the place of an expert that is no more


def before_phases(profile: UserProfile) -> bytes:
    """The bytes of a profile as version 3 had them, without weight of what it had no experts for."""
    learnt = profile.weights.copy()
    experts = np.insert(np.delete(learnt["experts"], PHASED, axis=1), STREAM, 0.0, axis=1)
    weights = np.zeros(1, record(experts=(np.float32, experts.shape[1:]), steps=np.float32))
    weights["experts"], weights["steps"] = experts, learnt["steps"]
    profile.weights = weights
    data = encode(profile)
    learnt["experts"][:, PHASED] = 0.0
    profile.weights = learnt
    return bytes((3, *data[1:]))
