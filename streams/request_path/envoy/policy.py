"""What applies to every request of a pool: deadlines, timeouts, and whose tokens are accepted."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EdgeCertificate", "JwtProvider", "RoutePolicy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtProvider:
    """The issuer whose tokens are accepted at the edge, and the claim that names the user."""

    issuer: str
    jwks: str  # JSON Web Key Set
    claim: str = "sub"
    tier_claim: str = ""  # empty: the header x-foremesh-tier, if the pool trusts it


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeCertificate:
    """Files with the certificate and key that Envoy shows users."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutePolicy:
    """What applies to every request of a pool."""

    pool: str = "default"
    deadline_ms: int = 10_000
    decide_ms: int = 20  # timeout of a decision, after which the standard path serves
    log_flush_ms: int = 100  # how long Envoy gathers log entries
    lease_flush_ms: int = 10  # the same for the ends of requests that hold a lease
    jwt: JwtProvider | None = None
    tls: EdgeCertificate | None = None  # None: on loopback
