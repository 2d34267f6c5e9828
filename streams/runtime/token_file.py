"""The token that our processes show each other, in a file that only their user can read."""

from __future__ import annotations

import contextlib
import secrets
import stat
import tempfile
from pathlib import Path

from streams.errors import SettingInvalid
from streams.settings import Settings

__all__ = ["dashboard_token_of", "token_of", "users_token_of"]

_BYTES = 32
_LEAST = 16  # characters


def token_of(settings: Settings) -> str:
    """The token of FOREMESH_TOKEN_FILE; made on first use, for whichever process comes first.

    Raises
    ------
    SettingInvalid
        The file cannot be made or read, anyone may read it, or it holds too little.
    """
    return _token(settings, "token_file", "token")


def users_token_of(settings: Settings) -> str:
    """The token that users of a gateway send; see `token_of`."""
    return _token(settings, "users_token_file", "users-token")


def dashboard_token_of(settings: Settings) -> str:
    """The token that operators give the dashboard; see `token_of`."""
    return _token(settings, "dashboard_token_file", "dashboard-token")


def _token(settings: Settings, setting: str, usual: str) -> str:
    """The token in the file that a setting names, by default one of the directory of the stack."""
    path = Path(getattr(settings, setting) or Path(settings.build) / usual)
    try:
        if not path.exists():
            _make(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not ASCII"
        raise SettingInvalid(
            f"the token in {path} cannot be used: {why}: set {settings.variable(setting)} to a file"
            " that this user can read, or write"
        ) from error
    if mode & stat.S_IRWXO:
        raise SettingInvalid(f"anyone can read the token in {path}: chmod 600 {path}")
    if len(token) < _LEAST:
        raise SettingInvalid(
            f"the token in {path} has less than {_LEAST} characters: delete the file, and a new"
            " one is made"
        )
    return token


def _make(path: Path) -> None:
    """Write a token, whole from the first moment; another process may do so at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="ascii") as mine:  # mode 600
        mine.write(secrets.token_urlsafe(_BYTES) + "\n")
        mine.flush()
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(mine.name)
