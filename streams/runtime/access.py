"""Who may ask: where a process may listen, and what a request must bring.

Every listener is on loopback, or has TLS and asks for a token: this is the one place that decides.
What a peer without a token can do at each of them is in docs/threat-model.md.
"""

from __future__ import annotations

import hmac
import re
import ssl
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from streams.errors import SettingInvalid
from streams.runtime.addresses import address, is_loopback
from streams.runtime.token_file import token_of, users_token_of
from streams.settings import Settings

__all__ = [
    "Credentials",
    "Guard",
    "Listener",
    "RequestGuard",
    "bears_token",
    "certificate_files",
    "credentials",
    "grpc_certificates",
    "is_json",
    "known_hosts",
    "knows_host",
    "listener",
    "loopback_only",
    "processes_guard",
    "trust",
    "users_guard",
]

OPEN = "/healthz"  # asked by probes, which have no token
JSON = "application/json"
UNKNOWN_HOST = 421, "this host name is not known here: add it to FOREMESH_HOSTS"
_HOST = re.compile(r"(\[[^]]*\]|[^:]+)(?::\d+)?")  # and port


# --------------------------------------------------------------------------- where


@dataclass(frozen=True, slots=True)
class Listener:
    """An address that may be listened on; made by `listener` and `loopback_only`."""

    address: str
    what: str
    tls: ssl.SSLContext | None = field(default=None, repr=False)  # None: on loopback

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        return address(self.address)


def listener(settings: Settings, listen: str, what: str) -> Listener:
    """The listener at an address (host:port): on loopback as it is, elsewhere with TLS.

    Raises
    ------
    SettingInvalid
        It is elsewhere, and there is no certificate and key, or they cannot be used.
    """
    if is_loopback(address(listen)[0]):
        return Listener(listen, what)
    certificate, key = certificate_files(settings, listen, what)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        raise _unusable("FOREMESH_TLS_CERTIFICATE or _KEY", certificate, error) from error
    return Listener(listen, what, context)


def loopback_only(listen: str, what: str) -> Listener:
    """The listener at an address that nothing but loopback will do for.

    Raises
    ------
    SettingInvalid
        It is elsewhere.
    """
    if is_loopback(address(listen)[0]):
        return Listener(listen, what)
    raise SettingInvalid(
        f"the {what} cannot listen on {listen}, since it knows neither TLS nor tokens: use"
        " 127.0.0.1, and run Envoy beside it"
    )


def certificate_files(settings: Settings, listen: str, what: str) -> tuple[str, str]:
    """Certificate and key for a listener elsewhere than on loopback.

    Raises
    ------
    SettingInvalid
        There are none.
    """
    if settings.tls_certificate and settings.tls_key:
        return settings.tls_certificate, settings.tls_key
    raise SettingInvalid(
        f"the {what} would listen on {listen} for everyone in the clear: set"
        " FOREMESH_TLS_CERTIFICATE and FOREMESH_TLS_KEY, or listen on 127.0.0.1"
    )


def grpc_certificates(
    settings: Settings, listen: str, what: str
) -> tuple[bytes, bytes, bytes] | None:
    """Key, certificate and the clients' CA of a gRPC listener; None on loopback.

    Its clients (KEDA) cannot send a token: their certificate takes its place.

    Raises
    ------
    SettingInvalid
        It is elsewhere, and one of the files is missing or cannot be read.
    """
    if is_loopback(address(listen)[0]):
        return None
    certificate, key = certificate_files(settings, listen, what)
    if not settings.tls_ca:
        raise SettingInvalid(
            f"the {what} on {listen} must know its clients: set FOREMESH_TLS_CA to the CA of their"
            " certificates, or listen on 127.0.0.1"
        )
    return (
        _bytes_of("FOREMESH_TLS_KEY", key),
        _bytes_of("FOREMESH_TLS_CERTIFICATE", certificate),
        _bytes_of("FOREMESH_TLS_CA", settings.tls_ca),
    )


def _bytes_of(setting: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _unusable(setting, path, error) from error


def _unusable(setting: str, path: str, error: OSError) -> SettingInvalid:
    why = error.strerror or error
    return SettingInvalid(f"{path} cannot be used for TLS: {why}: see {setting}")


# --------------------------------------------------------------------------- who


class RequestGuard(ABC):
    """Lets a request in, or answers it with one sentence."""

    __slots__ = ()

    @abstractmethod
    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Status and sentence for a request that is not let in; None for one that is."""

    def scheme(self, method: str) -> str:
        """How one who is not known is to say who they are."""
        del method
        return "Bearer"

    def response(self, request: web.BaseRequest) -> web.Response | None:
        """The answer to a request that is not let in."""
        refused = self.refusal(request.method, request.path, request.headers)
        if refused is None:
            return None
        status, sentence = refused
        headers = {"WWW-Authenticate": self.scheme(request.method)} if status == 401 else {}
        return web.json_response({"error": sentence}, status=status, headers=headers)

    def middleware(self) -> Any:
        """The same for an application."""

        @web.middleware
        async def guarded(request: web.Request, handler: Any) -> web.StreamResponse:
            refused = self.response(request)
            answer: web.StreamResponse = refused or await handler(request)
            return answer

        return guarded


@dataclass(frozen=True, slots=True)
class Guard(RequestGuard):
    """What a request must bring, or is refused with one sentence.

    Parameters
    ----------
    token
        To be sent as `Authorization: Bearer`.
    setting
        Names the file that has it.
    hosts
        The names by which the listener may be asked, beside those of loopback; None where
        browsers may ask, by any name.
    """

    token: str = field(repr=False)
    setting: str
    hosts: frozenset[str] | None

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Status and sentence for a request that is not let in; None for one that is."""
        if self.hosts is not None:
            if not knows_host(headers.get("Host", ""), self.hosts):
                return UNKNOWN_HOST
            if "Origin" in headers:
                return 403, "web pages may not ask this"
        if path == OPEN:
            return None
        if not bears_token(headers.get("Authorization", ""), self.token):
            return 401, f"send the token of {self.setting} as `Authorization: Bearer`"
        if self.hosts is not None and method == "POST" and not is_json(headers):
            return 415, f"send the body as {JSON}"
        return None


def knows_host(host: str, hosts: frozenset[str]) -> bool:
    """Whether a request's host is of loopback or one of these."""
    found = _HOST.fullmatch(host)
    name = found[1].lower() if found else ""
    return is_loopback(name) or name in hosts


def bears_token(authorization: str, token: str) -> bool:
    """Whether a header shows the token."""
    scheme, _, shown = authorization.partition(" ")
    told = shown.strip().encode(errors="surrogateescape")
    return hmac.compare_digest(told, token.encode()) and scheme.lower() == "bearer"


def is_json(headers: Mapping[str, str]) -> bool:
    """Whether a request says that its body is JSON, which no form of a web page can."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower() == JSON


def processes_guard(settings: Settings) -> Guard:
    """What our processes ask of each other."""
    own = urlsplit(settings.provisioner).hostname or ""
    return Guard(token_of(settings), "FOREMESH_TOKEN_FILE", known_hosts(settings, own))


def known_hosts(settings: Settings, own: str) -> frozenset[str]:
    """The names of FOREMESH_HOSTS, and this one."""
    return frozenset({own, *(name.strip().lower() for name in settings.hosts.split(","))} - {""})


def users_guard(settings: Settings) -> Guard:
    """What a gateway beyond loopback asks of its users."""
    return Guard(users_token_of(settings), "FOREMESH_USERS_TOKEN_FILE", None)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client of ours brings, and whom it trusts."""

    headers: Mapping[str, str] = field(repr=False)
    tls: ssl.SSLContext


def credentials(settings: Settings, url: str) -> Credentials:
    """What to bring to one of our processes.

    Raises
    ------
    SettingInvalid
        The token would cross a network in the clear; or there is none, or no CA, that can be read.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise SettingInvalid(f"{url} would be sent the token in the clear: use https")
    return Credentials({"Authorization": f"Bearer {token_of(settings)}"}, trust(settings))


def trust(settings: Settings) -> ssl.SSLContext:
    """Whose certificates are believed: those of FOREMESH_TLS_CA, or whom this machine trusts.

    Raises
    ------
    SettingInvalid
        The file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=settings.tls_ca or None)
    except OSError as error:
        raise _unusable("FOREMESH_TLS_CA", settings.tls_ca, error) from error
