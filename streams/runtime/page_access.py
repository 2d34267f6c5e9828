"""Who may ask for a page: what a browser must bring, to read and to change."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.runtime.access import (
    JSON,
    OPEN,
    UNKNOWN_HOST,
    Listener,
    RequestGuard,
    bears_token,
    is_json,
    known_hosts,
    knows_host,
)
from streams.runtime.addresses import address
from streams.runtime.token_file import dashboard_token_of
from streams.settings import Settings

__all__ = ["PageGuard", "page_guard"]

READING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class PageGuard(RequestGuard):
    """What a browser must bring to a page of ours, which may be asked by its own host alone.

    Parameters
    ----------
    token
        To be sent as `Authorization: Bearer`, or to read as the password of HTTP's own login.
    hosts
        The names by which it may be asked, beside those of loopback.
    open_reading
        Whether reading needs no token: on loopback.
    """

    token: str = field(repr=False)
    hosts: frozenset[str]
    open_reading: bool

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Status and sentence for a request that is not let in; None for one that is."""
        host = headers.get("Host", "")
        if not knows_host(host, self.hosts):
            return UNKNOWN_HOST
        if headers.get("Origin", f"//{host}").partition("//")[2] != host:
            return 403, "web pages of others may not ask this"
        if path == OPEN:
            return None
        changes = method not in READING
        if changes and not is_json(headers):
            return 415, f"send the body as {JSON}"
        if (changes or not self.open_reading) and not self._shown(headers, changes=changes):
            return 401, "send the token of FOREMESH_DASHBOARD_TOKEN_FILE"
        return None

    def scheme(self, method: str) -> str:
        """A browser asks for the login of what it reads; a change shows the token."""
        return 'Basic realm="foremesh"' if method in READING else "Bearer"

    def _shown(self, headers: Mapping[str, str], *, changes: bool) -> bool:
        """Whether the token is there; for a change not as the login that a browser sends by itself."""
        authorization = headers.get("Authorization", "")
        if bears_token(authorization, self.token):
            return True
        scheme, _, shown = authorization.partition(" ")
        if changes or scheme.lower() != "basic":
            return False
        try:
            _, _, password = base64.b64decode(shown, validate=True).partition(b":")
        except ValueError:
            return False
        return hmac.compare_digest(password, self.token.encode())


def page_guard(settings: Settings, at: Listener) -> PageGuard:
    """What the dashboard asks of browsers."""
    name = address(at.address)[0]
    token = dashboard_token_of(settings)
    return PageGuard(token, known_hosts(settings, name), open_reading=at.tls is None)
