"""The token between our processes, on a real file system."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from streams.errors import SettingInvalid
from streams.runtime.access import credentials
from streams.runtime.token_file import token_of, users_token_of
from streams.settings import Settings


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return Settings(build=str(tmp_path / "build"))


def test_the_first_to_ask_makes_it_and_nobody_else_can_read_it(here: Settings) -> None:
    token = token_of(here)
    path = Path(here.build) / "token"

    assert len(token) >= 43
    assert (token_of(here), path.read_text().strip()) == (token, token)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["token"]


def test_all_who_ask_at_once_get_the_same(here: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: token_of(here), range(32)))) == 1


def test_users_have_another(here: Settings) -> None:
    assert token_of(here) != users_token_of(here)


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("a" * 40, 0o604, "anyone can read the token in .*: chmod 600"),
        ("short\n", 0o600, "has less than 16 characters"),
        ("\xe9" * 40, 0o600, "not ASCII"),
    ],
)
def test_a_file_that_keeps_no_secret_is_refused(
    here: Settings, tmp_path: Path, text: str, mode: int, said: str
) -> None:
    path = tmp_path / "mine"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(SettingInvalid, match=said):
        token_of(replace(here, token_file=str(path)))


def test_a_place_where_it_cannot_be_made_is_said(here: Settings) -> None:
    with pytest.raises(SettingInvalid, match="set FOREMESH_TOKEN_FILE"):
        token_of(replace(here, token_file="/proc/none/token"))


def test_it_is_not_sent_in_the_clear(here: Settings) -> None:
    for url in ("http://127.0.0.1:1", "http://[::1]:1", "https://provisioner:1"):
        assert credentials(here, url).headers == {"Authorization": f"Bearer {token_of(here)}"}
    with pytest.raises(SettingInvalid, match="in the clear: use https"):
        credentials(here, "http://provisioner:1")
