"""The keys of the profiler's state, and how the contexts of a user are hashed to them."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from streams.models.next_request.user_profile import UserProfile

__all__ = [
    "NETWORK", "PARAMETERS", "POPULATION", "SERVICES", "State", "context_keys", "gaps_key", "order_keys",
    "pace_of", "phase_keys", "user_key", "weights_key",
]  # fmt: skip

State = MutableMapping[str, Any]

POPULATION, SERVICES, PARAMETERS = "\x00common", "\x00names", "\x00parameters"
NETWORK = "\x00rnn"
_BUCKETS = 16_381  # rows that the contexts of one order are hashed to; prime
_HEX = [f"{bucket:x}" for bucket in range(_BUCKETS)]
_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_FIRST_DAY, _SATURDAY = 3, 5  # the first of January 1970 was a Thursday; Monday is 0


def user_key(user: str) -> str:
    """The row of a user's profile."""
    return f"u/{user}"


def weights_key(service: int) -> str:
    """The row of the weights after this service."""
    return f"\x00w/{service:x}"


def gaps_key(pace: int, service: int) -> str:
    """The row of the gaps after the same service and a gap as long as the last."""
    return f"\x00gaps/{pace & 15:x}/{service:x}"


def context_keys(profile: UserProfile, phase: int) -> list[str]:
    """Rows of the counts after what this user did last, in the experts' order.

    Parameters
    ----------
    phase
        In which the silence ends, see `phase_of`.
    """
    one, two, three, four, five = profile.tail
    pair = two << 16 | one
    triple = three << 32 | pair
    return [
        f"\x00c1/{one:x}",
        f"\x00c2/{_HEX[pair % _BUCKETS]}",
        f"\x00c3/{_HEX[triple % _BUCKETS]}",
        f"\x00c5/{_HEX[(five << 64 | four << 48 | triple) % _BUCKETS]}",
        f"\x00pace/{_HEX[(pair << 8 | profile.pace) % _BUCKETS]}",
        f"\x00hour/{_HEX[(one << 16 | hour_of(profile.last_ms)) % _BUCKETS]}",
        f"\x00cohort/{_HEX[(one << 16 | profile.first) % _BUCKETS]}",
        f"\x00told/{_HEX[(one << 32 | profile.parameter_hash) % _BUCKETS]}",
        *phase_keys(two, one, phase),
        f"\x00first/{one:x}",
    ]


def phase_keys(two: int, one: int, phase: int) -> tuple[str, str]:
    """Of those rows the ones of a phase, after the later service alone and after both."""
    pair = two << 16 | one
    return f"\x00phase/{phase}/{one:x}", f"\x00phases/{phase}/{_HEX[pair % _BUCKETS]}"


def hour_of(at_ms: int) -> int:
    """The hour of the day, UTC; those of weekends apart."""
    day, rest = divmod(at_ms, _DAY_MS)
    return rest // _HOUR_MS + (24 if (day + _FIRST_DAY) % 7 >= _SATURDAY else 0)


def order_keys(two: int, one: int) -> tuple[str, str]:
    """Of those rows the ones after two services and after the later alone, as `context_keys`."""
    return f"\x00c2/{_HEX[(two << 16 | one) % _BUCKETS]}", f"\x00c1/{one:x}"


def pace_of(pace: int, gap_ms: int) -> int:
    """The last two gaps as one number: each in factors of four from a second, four bits."""
    bucket = min(max(gap_ms // 1000, 1).bit_length() - 1 >> 1, 14) + 1
    return (pace << 4 | bucket) & 0xFF
