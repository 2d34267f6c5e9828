"""Reads what clients send as JSON: names and whole numbers that records can hold, or a refusal."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, TransferEncodingError

__all__ = ["BODY_UNREADABLE", "MALFORMED", "MOST_MS", "malformed", "name_of", "whole_of"]

# What reading a body raises that is not encoded as its headers say.
BODY_UNREADABLE = web.RequestPayloadError, ContentEncodingError, TransferEncodingError
# And what raises one that is no JSON, or not of the form that belongs there.
MALFORMED = (
    *(AttributeError, KeyError, OverflowError, TypeError, ValueError, RecursionError),
    *BODY_UNREADABLE,
)
MOST_MS = 2**53  # of a time
_MOST_NAME = 4_096  # characters
_MOST = 2**40  # of a count or duration since the last report


def malformed(error: Exception) -> web.Response:
    """The answer to a body that raised one of `MALFORMED`."""
    return web.json_response({"error": f"malformed request: {error!r}"[:_MOST_NAME]}, status=400)


def name_of(value: Any) -> str:
    """A name that can be encoded."""
    if not isinstance(value, str) or len(value) > _MOST_NAME:
        raise TypeError("a name is missing or too long")
    value.encode()
    return value


def whole_of(value: Any, most: int = _MOST) -> int:
    """A whole number that is not negative, and not larger than a record can hold."""
    if not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"a number is not whole, or not between 0 and {most}")
    return value
