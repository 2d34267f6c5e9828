"""Reads what constituents answer as JSON: within a bound, and as it is written."""

from __future__ import annotations

import codecs
from contextlib import suppress

import aiohttp
from msgspec import Raw
from msgspec.json import Decoder

__all__ = ["MOST_ANSWER_BYTES", "json_answer"]

MOST_ANSWER_BYTES = 64 * 1024 * 1024  # held whole, as bytes and as text

_RAW = Decoder(Raw)


async def json_answer(response: aiohttp.ClientResponse) -> Raw:
    """The body of a response, which is JSON; null for an empty one.

    Raises
    ------
    ValueError, LookupError, RecursionError
        It is no JSON, or larger than is held.
    aiohttp.ClientError
        It breaks off.
    """
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MOST_ANSWER_BYTES:
            raise ValueError(f"it is larger than {MOST_ANSWER_BYTES:,} bytes")
    text = body.decode(_encoding_of(response)).strip()
    return _RAW.decode(text or "null")


def _encoding_of(response: aiohttp.ClientResponse) -> str:
    """The encoding that it says it has, if that is one."""
    with suppress(LookupError, ValueError):
        return codecs.lookup(response.charset or "utf-8").name
    return "utf-8"
