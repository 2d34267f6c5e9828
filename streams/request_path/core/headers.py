"""What a request says in its headers, and the most that its body may hold."""

from __future__ import annotations

__all__ = ["MOST_BYTES", "TIER", "USER"]

USER, TIER = "x-foremesh-user", "x-foremesh-tier"
MOST_BYTES = 1024 * 1024  # of a request's body
