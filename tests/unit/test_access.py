from __future__ import annotations

from collections.abc import Mapping

import pytest

from streams.errors import SettingInvalid
from streams.runtime.access import (
    Guard,
    grpc_certificates,
    listener,
    loopback_only,
    trust,
)
from streams.settings import Settings

TOKEN = "a token of some length"
GUARD = Guard(TOKEN, "FOREMESH_TOKEN_FILE", frozenset({"provisioner"}))
GOOD = {
    "Host": "127.0.0.1:8081",
    "Authorization": f"Bearer {TOKEN}",
    "Content-Type": "application/json; charset=utf-8",
}


def refused(headers: Mapping[str, str], path: str = "/use") -> int:
    found = GUARD.refusal("POST", path, headers)
    return found[0] if found else 0


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.3.2.1:80", "[::1]:80", "provisioner:1"]
)
def test_a_request_by_a_known_name_with_the_token_is_let_in(host: str) -> None:
    assert refused({**GOOD, "Host": host}) == 0


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil", "[", "provisioner\xe9"]
)
def test_a_name_that_another_made_point_here_is_refused(host: str) -> None:
    assert refused({**GOOD, "Host": host}) == 421


def test_a_web_page_is_refused_whatever_it_brings() -> None:
    assert refused({**GOOD, "Origin": "http://localhost"}) == 403
    assert refused({**GOOD, "Origin": "null"}, "/healthz") == 403


@pytest.mark.parametrize(
    "authorization",
    ["", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer ", f"Bearer {TOKEN}x", "Bearer \udcff"],
)
def test_a_request_without_the_token_is_refused(authorization: str) -> None:
    assert refused({**GOOD, "Authorization": authorization}) == 401


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; x=y"]
)
def test_what_a_form_can_send_is_refused(kind: str) -> None:
    assert refused({**GOOD, "Content-Type": kind}) == 415


def test_a_probe_needs_no_token() -> None:
    assert refused({"Host": "localhost"}, "/healthz") == 0


def test_the_users_of_a_gateway_need_the_token_alone() -> None:
    guard = Guard(TOKEN, "FOREMESH_USERS_TOKEN_FILE", None)
    page = {"Host": "shop.example", "Origin": "https://shop.example"}

    assert guard.refusal("POST", "/a", {**page, "Authorization": f"bearer {TOKEN}"}) is None
    status, sentence = guard.refusal("POST", "/a", page) or (0, "")
    assert (status, "FOREMESH_USERS_TOKEN_FILE" in sentence) == (401, True)


def test_a_listener_beyond_loopback_needs_a_certificate() -> None:
    assert listener(Settings(), "127.0.0.1:80", "gateway").tls is None
    with pytest.raises(SettingInvalid, match=r"gateway would listen on 0\.0\.0\.0:80 .*_TLS_KEY"):
        listener(Settings(), "0.0.0.0:80", "gateway")
    with pytest.raises(
        SettingInvalid, match=r"none\.pem cannot be used for TLS: .*TLS_CERTIFICATE"
    ):
        listener(Settings(tls_certificate="none.pem", tls_key="x"), "0.0.0.0:80", "gateway")


def test_what_knows_no_tls_stays_on_loopback() -> None:
    assert loopback_only("localhost:80", "activator").place == ("localhost", 80)
    with pytest.raises(SettingInvalid, match="activator cannot listen on host:80"):
        loopback_only("host:80", "activator")


def test_a_scaler_beyond_loopback_must_know_its_clients() -> None:
    assert grpc_certificates(Settings(), "127.0.0.1:1", "scaler") is None
    with pytest.raises(SettingInvalid, match="FOREMESH_TLS_CERTIFICATE"):
        grpc_certificates(Settings(), "0.0.0.0:1", "scaler")
    with pytest.raises(SettingInvalid, match="set FOREMESH_TLS_CA"):
        grpc_certificates(Settings(tls_certificate="c", tls_key="k"), "0.0.0.0:1", "scaler")


def test_a_file_that_cannot_be_used_is_told_with_the_setting_that_names_it() -> None:
    with pytest.raises(
        SettingInvalid, match=r"none\.pem cannot be used for TLS: .*FOREMESH_TLS_CA"
    ):
        trust(Settings(tls_ca="none.pem"))
    with pytest.raises(SettingInvalid, match=r"none\.pem cannot be used for TLS: .*TLS_KEY"):
        grpc_certificates(
            Settings(tls_certificate="c", tls_key="none.pem", tls_ca="a"), "0.0.0.0:1", "scaler"
        )
