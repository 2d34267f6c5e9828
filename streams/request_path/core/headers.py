"""The HTTP headers of the request path, and the tier of a request that names none."""

from __future__ import annotations

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


def default_tier(tiers: Mapping[str, Tier]) -> str:
    """The tier named "standard", or the one of lowest priority where there is none of that name."""
    if _STANDARD in tiers or not tiers:
        return _STANDARD
    return min(tiers, key=lambda name: (tiers[name].priority, name))
