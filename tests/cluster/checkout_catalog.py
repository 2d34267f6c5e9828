"""A composite of one constituent that takes seconds to start."""

from __future__ import annotations

__all__ = ["checkout_catalog"]


def checkout_catalog(price: float) -> str:
    """The catalogue, in YAML.

    Parameters
    ----------
    price
        Of an hour of the warm constituent.
    """
    return f"""
constituents:
  pricing: {{cpu: 50, memory: 64, warm_up_ms: 4000, price: {price}}}
composites:
  checkout: [pricing]
tiers:
  standard: {{weight: 0.02, sla_ms: 2000}}
pools:
  default: {{cpu: 1000, memory: 4096, bandwidth: 1000}}
"""
