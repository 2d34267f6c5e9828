"""Addresses that are listened on."""

from __future__ import annotations

import pytest

from streams.errors import SettingInvalid
from streams.runtime.addresses import address


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        (":8080", ("127.0.0.1", 8080)),
        ("shop.example:0", ("shop.example", 0)),
        ("http://localhost:81/", ("localhost", 81)),
        ("https://localhost:65535", ("localhost", 65535)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, place: tuple[str, int]) -> None:
    assert address(text) == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "8080",
        ":",
        "a:",
        "a:b",
        "a:-1",
        "a:70000",
        "a:80/x",
        "ftp://a:1",
        "::1:80",
        "a b:1",
    ],
)
def test_what_is_no_address_is_told_in_a_sentence(text: str) -> None:
    with pytest.raises(SettingInvalid, match=r"is no address: write host:port"):
        address(text)
