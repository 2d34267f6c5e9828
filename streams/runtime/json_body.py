"""Reads what clients send as JSON: what records can hold, or a refusal that says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, TypeVar

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, TransferEncodingError
from msgspec import Meta, ValidationError
from msgspec.json import Decoder

__all__ = [
    "BODY_UNREADABLE",
    "BodyRefused",
    "JsonCount",
    "JsonName",
    "JsonTime",
    "decoded",
    "form_of",
    "malformed",
]

T = TypeVar("T")

# What reading a body raises that is not encoded as its headers say.
BODY_UNREADABLE = web.RequestPayloadError, ContentEncodingError, TransferEncodingError

JsonName = Annotated[str, Meta(max_length=4_096)]
JsonTime = Annotated[int, Meta(ge=0, le=2**53)]  # in milliseconds
JsonCount = Annotated[int, Meta(ge=0, le=2**40)]  # or a duration, since the last report

_KINDS: Mapping[str, str] = {  # of msgspec, for people
    "array": "a list",
    "bool": "true or false",
    "bool | null": "true or false",
    "float": "a number with a fraction",
    "int": "a whole number",
    "object": "an object",
    "str": "a text",
}


class BodyRefused(ValueError):
    """A body that cannot be used; the message says which part of it, and what may be there."""


async def form_of(request: web.BaseRequest, decoder: Decoder[T]) -> T:
    """What the body of a request says; raises `BodyRefused`."""
    try:
        body = await request.read()
    except BODY_UNREADABLE:
        raise BodyRefused("the body is not encoded as its headers say") from None
    return decoded(body, decoder)


def decoded(body: bytes, decoder: Decoder[T]) -> T:
    """What these bytes of JSON say; raises `BodyRefused`.

    Examples
    --------
    >>> decoded(b'[1, "two"]', Decoder(list[int]))
    Traceback (most recent call last):
    streams.runtime.json_body.BodyRefused: [1]: expected a whole number, got a text
    """
    try:
        return decoder.decode(body.decode("utf-8-sig"))
    except ValidationError as error:
        raise BodyRefused(_sentence(str(error))) from None
    except ValueError:
        raise BodyRefused("the body is not JSON in UTF-8") from None
    except RecursionError:
        raise BodyRefused("the body is nested too deeply") from None


def malformed(error: BodyRefused) -> web.Response:
    """The answer to a body that is refused."""
    return web.json_response({"error": str(error)}, status=400)


def _sentence(said: str) -> str:
    """What msgspec says is wrong, in plain words."""
    what, _, where = said.partition(" - at ")
    place = where.strip("`").removeprefix("$").removeprefix(".") or "the body"
    words = re.sub("`([^`]*)`", lambda kind: _KINDS.get(kind[1], kind[1]), what)
    return f"{place}: {words[0].lower()}{words[1:]}"
