from __future__ import annotations

import math

import numpy as np
import pytest

from streams.stages.row_encoding import from_row, to_row

VALUE = ["größe", 1 << 62, -7, 1e-5, 1e22, None, {"a": [True, []]}]


def test_a_row_comes_back_as_it_went() -> None:
    assert from_row(to_row(3, VALUE), range(1, 5)) == (3, VALUE)


def test_infinity_and_no_number_come_back() -> None:
    _, (infinite, nothing) = from_row(to_row(1, [math.inf, math.nan]), range(1, 2))
    assert infinite == math.inf
    assert math.isnan(nothing)


def test_numbers_of_numpy_come_back_as_plain_ones() -> None:
    assert from_row(to_row(1, [np.float64(0.1)]), range(1, 2)) == (1, [0.1])


def test_a_row_saved_as_json_is_read() -> None:
    assert from_row(b'\x03["gr\\u00f6\\u00dfe",1e+22,Infinity]', range(1, 5)) == (
        3,
        ["größe", 1e22, math.inf],
    )


@pytest.mark.parametrize("data", [b"", b"\x07[]", b"\x03", b"\x03[1", b"\x03\xc1", b"\x03\xc1\x92"])
def test_bytes_that_are_no_row_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"state row|Expecting|delimiter"):
        from_row(data, range(1, 5))
