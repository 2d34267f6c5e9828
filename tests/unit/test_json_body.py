from __future__ import annotations

import pytest
from msgspec.json import Decoder

from streams.provisioners.core.http_api import UseReport
from streams.provisioners.core.interface import InstanceRequest
from streams.runtime.json_body import BodyRefused, decoded

USE = b'{"uses": [{"instance_id": "i", "in_flight": %b}]}'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\xff", "the body is not JSON in UTF-8"),
        (b"", "the body is not JSON in UTF-8"),
        (b'{"a":' * 100_000, "the body is nested too deeply"),
        (b"[]", "the body: expected an object, got a list"),
        (b"{}", "the body: object missing required field uses"),
        (b'{"uses": [7]}', "uses[0]: expected an object, got a whole number"),
        (USE % b'"many"', "uses[0].in_flight: expected a whole number, got a text"),
        (USE % b"0.5", "uses[0].in_flight: expected a whole number, got a number with a fraction"),
        (USE % b"true", "uses[0].in_flight: expected a whole number, got true or false"),
        (USE % b"-1", "uses[0].in_flight: expected a whole number >= 0"),
        (
            USE % b'0, "claimable": 1',
            "uses[0].claimable: expected true or false, got a whole number",
        ),
    ],
)
def test_a_body_is_refused_with_its_field_and_what_may_be_there(body: bytes, said: str) -> None:
    with pytest.raises(BodyRefused) as refused:
        decoded(body, Decoder(UseReport))

    assert str(refused.value) == said


def test_a_name_has_a_length_that_records_can_hold() -> None:
    body = b'{"service": "%b", "request_id": "r", "deadline_ms": 1}'
    decoder = Decoder(InstanceRequest)

    assert decoded(body % b"a", decoder) == InstanceRequest(
        service="a", request_id="r", deadline_ms=1
    )
    with pytest.raises(BodyRefused, match="service: expected a text of length <= 4096"):
        decoded(body % (b"x" * 5_000), decoder)
