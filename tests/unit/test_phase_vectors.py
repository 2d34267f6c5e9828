from __future__ import annotations

import numpy as np

from streams.records import Prediction, ServiceProbability
from streams.stages.aggregator.phase_vectors import by_phase


def test_no_composite_is_likelier_in_a_session_than_certain() -> None:
    """However small is what a vector of another client says of the session as a whole."""
    entry = ServiceProbability(
        service="draw", probability=0.8, within=0.7, soon=0.7, later=0.6, another_day=0.5
    )
    vector = Prediction(
        request_id="r",
        user="ann",
        services=(entry,),
        unseen=0.2,
        horizon_ms=60_000,
        expected_ms=(1, 2, 3),
        soon=5e-324,
        made_ms=1,
        expires_ms=2,
        model="m",
    )

    assert np.array_equal(by_phase(vector), [[1.0], [0.6], [0.5]])
