"""Addresses that are listened on."""

from __future__ import annotations

import pytest

from streams.errors import SettingInvalid
from streams.runtime.addresses import address, is_loopback, url_of


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


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_only_this_machine_reaches_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "shop", "localhost.example"])
def test_others_may_reach_any_other_host(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:80", "http://127.0.0.1:80"),
        ("shop.example:80", "https://shop.example:80"),
        ("http://shop.example:80", "http://shop.example:80"),
    ],
)
def test_what_listens_beyond_loopback_is_asked_over_tls(listen: str, url: str) -> None:
    assert url_of(listen) == url
