"""The HTTP headers of the request path, their text, and the tier of a request that names none."""

from __future__ import annotations

import re
from collections.abc import Mapping

from streams.records.catalog import Tier

__all__ = [
    "CONSTITUENT_HEADER",
    "DESTINATION_HEADER",
    "IDEMPOTENT_HEADER",
    "LEASED_HEADER",
    "RESULT_HEADER",
    "TIER_HEADER",
    "USER_HEADER",
    "default_tier",
    "is_text",
    "priority_in",
    "priority_of",
    "readable",
    "whole_in",
    "without_surrogates",
]

USER_HEADER, TIER_HEADER = "x-foremesh-user", "x-foremesh-tier"
RESULT_HEADER = "x-foremesh"  # of a response: hit, partial or miss
# Tells Envoy and the activator that the catalogue marks the composite as idempotent.
IDEMPOTENT_HEADER = "x-foremesh-idempotent"
CONSTITUENT_HEADER = "x-foremesh-service"  # names the constituent to the activator
LEASED_HEADER = "x-foremesh-leased"  # marks requests for exclusive instances in the access log
# The header of the Gateway API Inference Extension's endpoint picker protocol.
DESTINATION_HEADER = "x-gateway-destination-endpoint"

_STANDARD = "standard"
_WHOLE = re.compile("[0-9]{1,15}")
_SURROGATE = re.compile("[\ud800-\udfff]")


def readable(data: bytes) -> str:
    """The text of these bytes, with an exclamation mark for each that is not UTF-8, as Envoy does."""
    return without_surrogates(data.decode(errors="surrogateescape"))


def without_surrogates(text: str) -> str:
    """The text, with an exclamation mark for each character that no encoding has.

    aiohttp has such a character for each byte of a header that is not UTF-8.
    """
    return _SURROGATE.sub("!", text)


def is_text(text: str) -> bool:
    """Whether it can be encoded: neither bytes that are no UTF-8 nor half a pair of surrogates."""
    return not _SURROGATE.search(text)


def whole_in(text: str, otherwise: int) -> int:
    """The whole number that a header is, or another if it is none or out of all reason.

    Python's own digits are more than HTTP's: it counts "²" as one.
    """
    return int(text) if _WHOLE.fullmatch(text) else otherwise


def default_tier(tiers: Mapping[str, Tier]) -> str:
    """The tier named "standard", or the one of lowest priority where there is none of that name."""
    if _STANDARD in tiers or not tiers:
        return _STANDARD
    return min(tiers, key=lambda name: (tiers[name].priority, name))


def priority_of(tier: str, tiers: Mapping[str, Tier]) -> int:
    """The priority of a tier; that of the default tier if the catalogue does not have it."""
    known = tiers.get(tier) or tiers.get(default_tier(tiers))
    return known.priority if known else 0


def priority_in(headers: Mapping[str, str], tiers: Mapping[str, Tier]) -> int:
    """The priority of a request by its tier, as the headers say that Envoy let in."""
    return priority_of(headers.get(TIER_HEADER, ""), tiers)
