"""What a server says of its health, asked once."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from streams.errors import SettingInvalid
from streams.runtime.access import trust
from streams.runtime.addresses import url_of
from streams.settings import Settings

__all__ = ["health_at"]

PATIENCE_S = 2.0  # for a whole answer, however it trickles


def health_at(settings: Settings, at: str) -> Any:
    """What the server at this address answers at /healthz; no proxy is asked.

    Raises
    ------
    SettingInvalid
        The address is none; the server's certificate, or the file of those to trust, is of no use.
    OSError, aiohttp.ClientError, ValueError
        It does not answer in time, or not in JSON.
    """
    return asyncio.run(_asked(settings, f"{url_of(at)}/healthz"))


async def _asked(settings: Settings, url: str) -> Any:
    timeout = aiohttp.ClientTimeout(PATIENCE_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, ssl=_tls(settings, url), raise_for_status=True) as answer,
        ):
            return json.loads(await answer.read())
    except aiohttp.ClientConnectorCertificateError as error:
        raise SettingInvalid(
            f"{url} has a certificate that nobody vouches for: set FOREMESH_TLS_CA to the"
            f" certificates to trust ({error.certificate_error})"
        ) from error
    except TimeoutError:
        raise TimeoutError(f"no answer in {PATIENCE_S:g} s") from None


def _tls(settings: Settings, url: str) -> ssl.SSLContext | bool:
    """Whom to trust; of a server asked in the clear that file may be missing."""
    return trust(settings) if urlsplit(url).scheme == "https" else True
