"""What a browser must bring to the dashboard."""

from __future__ import annotations

from base64 import b64encode

import pytest

from streams.runtime.page_access import PageGuard

TOKEN = "a token of some length"
HERE = {"Host": "127.0.0.1:8088"}
LOCAL = PageGuard(TOKEN, frozenset({"board"}), open_reading=True)
FAR = PageGuard(TOKEN, frozenset({"board"}), open_reading=False)
BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Content-Type": "application/json"}


def basic(text: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(text.encode()).decode()}"}


def status(guard: PageGuard, method: str = "GET", path: str = "/", **headers: str) -> int:
    found = guard.refusal(method, path, {**HERE, **headers})
    return found[0] if found else 0


def test_on_loopback_everybody_reads_and_nobody_changes_without_the_token() -> None:
    assert status(LOCAL) == 0
    assert status(LOCAL, "POST", **JSON) == 401
    assert status(LOCAL, "POST", **JSON, **BEARER) == 0


def test_elsewhere_reading_needs_the_token_too() -> None:
    assert status(FAR) == 401
    assert status(FAR, path="/healthz") == 0
    assert status(FAR, **basic(f"ann:{TOKEN}")) == 0
    assert status(FAR, **BEARER) == 0


def test_a_login_that_a_browser_sends_by_itself_changes_nothing() -> None:
    assert status(FAR, "POST", **JSON, **basic(f"ann:{TOKEN}")) == 401


@pytest.mark.parametrize("shown", ["Basic", "Basic !", "Basic YQ==", "Bearer x", "Digest x"])
def test_what_is_no_token_lets_nobody_in(shown: str) -> None:
    assert status(FAR, Authorization=shown) == 401


def test_a_page_of_another_site_is_refused_whatever_it_brings() -> None:
    theirs = {**JSON, **BEARER, "Origin": "https://evil.example"}
    assert status(LOCAL, "POST", **theirs) == 403
    assert status(LOCAL, "POST", **{**theirs, "Origin": "null"}) == 403
    assert status(LOCAL, "POST", **{**theirs, "Origin": "http://127.0.0.1:8088"}) == 0
    assert status(LOCAL, "POST", **{**theirs, "Origin": "http://127.0.0.1:1"}) == 403


@pytest.mark.parametrize(
    "origin", ["", "http://", "http://[", "http://[x]", "http://a℀b", "[", "//"]
)
def test_what_is_no_origin_is_that_of_another_site(origin: str) -> None:
    assert status(LOCAL, Origin=origin) == 403


@pytest.mark.parametrize("host", ["[127.0.0.1]:8088", "[::1]:8088"])
def test_an_address_in_brackets_is_a_host_like_others(host: str) -> None:
    assert status(LOCAL, Host=host) == 0
    assert status(LOCAL, Host=host, Origin=f"http://{host}") == 0


def test_a_name_that_another_made_point_here_is_refused() -> None:
    assert status(LOCAL, Host="evil.example") == 421
    assert status(LOCAL, Host="board:1") == 0


def test_a_form_changes_nothing() -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert status(LOCAL, "POST", **form, **BEARER) == 415
