from __future__ import annotations

import pytest

from streams.request_path.envoy.activator import time_left_ms


@pytest.mark.parametrize(
    ("headers", "left_ms"),
    [
        ({"x-envoy-expected-rq-timeout-ms": "250"}, 250),
        ({"x-envoy-expected-rq-timeout-ms": "99000"}, 10_000),
        ({"x-envoy-expected-rq-timeout-ms": "soon"}, 10_000),
        ({"x-envoy-expected-rq-timeout-ms": "²"}, 10_000),
        ({"x-envoy-expected-rq-timeout-ms": "9" * 5_000}, 10_000),
        ({}, 10_000),
    ],
)
def test_a_request_waits_as_long_as_envoy_does_and_no_longer_than_its_deadline(
    headers: dict[str, str], left_ms: int
) -> None:
    assert time_left_ms(headers, 10_000) == left_ms
