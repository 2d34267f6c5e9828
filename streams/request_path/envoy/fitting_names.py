"""Names of requests that Envoy let in, however long, as their records have them."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping

from streams.request_path.core.headers import without_surrogates
from streams.stages.base import MAX_NAME

__all__ = ["fitting", "request_id_in"]


def fitting(name: str) -> str:
    """A name as it is, or one that is too long as its begin and a digest: it was served."""
    if len(name) <= MAX_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{name[: MAX_NAME - len(digest) - 1]}~{digest}"


def request_id_in(headers: Mapping[str, str]) -> str:
    """The id of a request that Envoy let in, as its record has it; a new one if it has none."""
    return fitting(without_surrogates(headers.get("x-request-id", ""))) or uuid.uuid4().hex
