"""What a request says in its headers, and the most that its body may hold."""

from __future__ import annotations

__all__ = ["MAX_BODY_BYTES", "TIER_HEADER", "USER_HEADER"]

USER_HEADER, TIER_HEADER = "x-foremesh-user", "x-foremesh-tier"
MAX_BODY_BYTES = 1024 * 1024  # of a request's body
