from __future__ import annotations

from streams.request_path.envoy.forwarding import end_to_end_headers


def test_headers_of_one_connection_are_not_passed_on() -> None:
    headers = {"Connection": "close", "Content-Length": "3", "HOST": "x", "x-request-id": "r"}

    assert dict(end_to_end_headers(headers)) == {"x-request-id": "r"}
