from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.models.state_bytes import StateReader, StateWriter

NUMBERS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 300))


@given(numbers=NUMBERS)
def test_several_numbers_have_the_bytes_of_each(numbers: list[int]) -> None:
    together, each = StateWriter(), StateWriter()
    together.uints(numbers)
    for number in numbers:
        each.uint(number)
    assert together.data == each.data


@given(numbers=NUMBERS)
def test_several_numbers_are_read_as_each_is(numbers: list[int]) -> None:
    out = StateWriter()
    out.uints([*numbers, 7])
    together, each = StateReader(bytes(out.data)), StateReader(bytes(out.data))
    assert together.uints(len(numbers)) == [each.uint() for _ in numbers] == numbers
    assert together.uint() == 7


@pytest.mark.parametrize("data", [b"\x80", b"\x01\x80", b"\x01", b"\x80" * 11 + b"\x01" * 2])
def test_numbers_that_end_too_early_or_never_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="truncated"):
        StateReader(data).uints(2)
