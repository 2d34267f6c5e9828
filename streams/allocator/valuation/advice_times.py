"""Of which constituents advice is to be looked up, as machine code."""

from __future__ import annotations

from streams.allocator.valuation.catalog_index import Numbers
from streams.allocator.valuation.occupancy import Floats
from streams.models.kernels import F8, I8, INT, chosen, kernel, repeated

__all__ = ["NEVER_MS", "earliest", "stale", "unsettled"]

NEVER_MS = 1 << 62

_I8x3 = repeated(I8, 3)


def unsettled(to_keep: Numbers, settled: Numbers, numbers: Numbers) -> list[int]:
    """Constituents with a past for which the demand keeps another number than is settled."""
    return chosen(_find_unsettled, len(numbers), (to_keep, settled, numbers))


@kernel(_I8x3, I8)
def _find_unsettled(known: tuple[Numbers, Numbers, Numbers], found: Numbers) -> int:
    (to_keep, settled, numbers), count = known, 0
    for part in range(len(found)):
        if to_keep[part] >= 0 and settled[part] != numbers[part]:
            found[count] = part
            count += 1
    return count


def stale(
    to_keep: Numbers, until_ms: Numbers, known_ms: Numbers, warm_up_ms: Floats, now_ms: int
) -> list[int]:
    """Constituents of which the advice no longer holds.

    Parameters
    ----------
    to_keep, until_ms, known_ms
        The advice, until when it holds, and for which time that a start takes.
    warm_up_ms
        That time now.
    """
    known = to_keep, until_ms, known_ms
    return chosen(_find_stale, len(to_keep), known, warm_up_ms, now_ms)


@kernel(_I8x3, F8, INT, I8)
def _find_stale(
    known: tuple[Numbers, Numbers, Numbers], warm_up_ms: Floats, now_ms: int, found: Numbers
) -> int:
    (to_keep, until_ms, known_ms), count = known, 0
    for part in range(len(found)):
        other = to_keep[part] >= 0 and known_ms[part] != int(warm_up_ms[part])
        if other or until_ms[part] <= now_ms:
            found[count] = part
            count += 1
    return count


@kernel(I8, INT)
def earliest(until_ms: Numbers, now_ms: int) -> int:
    """The constituent of which the advice is the first to end after now; -1 if none does."""
    first, first_ms = -1, NEVER_MS
    for part in range(len(until_ms)):
        if now_ms < until_ms[part] < first_ms:
            first, first_ms = part, until_ms[part]
    return first
