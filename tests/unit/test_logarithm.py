from __future__ import annotations

import numpy as np

from streams.models.logarithm import exponentials, logarithms


def test_logarithms_are_those_of_the_library() -> None:
    values = np.exp(np.random.default_rng(1).uniform(-600, 600, 5_000))
    out = np.empty_like(values)

    logarithms(values, out)

    assert np.allclose(out, np.log(values), rtol=0, atol=1e-10)
    logarithms(np.ones(1), out[:1])
    assert out[0] == 0.0


def test_exponentials_are_those_of_the_library() -> None:
    values = np.random.default_rng(1).uniform(-600, 600, 5_000)
    out = np.empty_like(values)

    exponentials(values, out)

    assert np.allclose(out, np.exp(values), rtol=1e-13, atol=0)
    exponentials(np.array([0.0, -1e9]), out[:2])
    assert out[0] == 1.0
    assert 0.0 <= out[1] < 1e-300
