from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.records import Outcome, Part, Result, Route
from streams.request_path.core import server_timing

whole = st.integers(0, 10**7)
parts = st.builds(
    Part,
    service=st.text(min_size=1, max_size=20),
    warm=st.booleans(),
    instance_id=st.text(max_size=20),
    wait_ms=whole,
    serve_ms=whole,
    warm_up_ms=st.none() | whole,
)


@given(st.lists(parts, max_size=5, unique_by=lambda part: part.service))
def test_the_parts_of_an_outcome_come_back_from_its_header(made: list[Part]) -> None:
    outcome = Outcome(
        request_id="r",
        user="u",
        tier="standard",
        pool="default",
        service="s",
        at_ms=0,
        result=Result.MISS,
        route=Route.STANDARD,
        status=200,
        latency_ms=1.0,
        cold_ms=0,
        saved_ms=0,
        parts=tuple(made),
    )

    header = server_timing.format_outcome(outcome)

    assert header.isascii()
    assert list(server_timing.parse_parts(header)) == made


@given(st.text(max_size=200))
def test_a_header_of_somebody_else_is_no_error(header: str) -> None:
    assert all(part.wait_ms >= 0 for part in server_timing.parse_parts(header))
