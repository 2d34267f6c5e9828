"""What a verdict comes to: a choice, and how far value and cost are apart."""

from __future__ import annotations

import math

from streams.allocator.valuation.catalog_index import Numbers
from streams.allocator.valuation.occupancy import Floats
from streams.models.kernels import F8, I8, INT, I8x2, chosen, inner, kernel, repeated
from streams.records.verdicts import Choice

__all__ = [
    "NOTHING_SAID", "ORDER", "Leaning", "ValueAndCost", "differing", "doublings", "is_news",
]  # fmt: skip

FAR = 6  # log2 of value over cost is clipped to this: what is far from paying may go farther
NEWS = 3  # change of that log2 that is published again
ORDER = list(Choice)
KEEP, LEAVE = ORDER.index(Choice.KEEP), ORDER.index(Choice.LEAVE)  # not compiled in: of elsewhere

ValueAndCost = tuple[Floats, Floats]  # by constituent
Leaning = tuple[int, int]  # a choice, by its place in `ORDER`, and the log2 of value over cost

NOTHING_SAID = (LEAVE, -FAR - 1)  # the first is told of a little earlier


def doublings(value: float, cost: float) -> int:
    """The rounded log2 of value over cost, clipped."""
    ratio = value / max(cost, 1e-300)
    return round(math.log2(min(max(ratio, 2.0**-FAR), 2.0**FAR)))


def is_news(new: Leaning, last: Leaning) -> bool:
    """Whether a verdict differs enough from the last one to be published."""
    return new[0] != last[0] or abs(new[1] - last[1]) >= NEWS


_doublings, _is_news = inner(doublings), inner(is_news)


@kernel(I8, repeated(F8, 2), repeated(F8, 2), I8x2, repeated(INT, 2), I8)
def _differ(
    have: Numbers,
    keep: ValueAndCost,
    leave: ValueAndCost,
    said: Numbers,
    choices: tuple[int, int],
    found: Numbers,
) -> int:
    (last, keep_cost), (first, start_cost) = keep, leave
    (to_keep, to_leave), count = choices, 0
    for part in range(len(have)):
        choice, value, cost = to_leave, first[part], start_cost[part]
        if have[part] > 0:
            choice, value, cost = to_keep, last[part], keep_cost[part]
        if _is_news((choice, _doublings(value, cost)), (said[0, part], said[1, part])):
            found[count] = part
            count += 1
    return count


def differing(have: Numbers, keep: ValueAndCost, leave: ValueAndCost, said: Numbers) -> list[int]:
    """The constituents, to keep or to leave, of which the verdict published last no longer holds.

    Parameters
    ----------
    keep, leave
        Value and cost of the last instance where there is one, and of a first one where there is none.
    said
        By constituent the choice and the log2 of what was published last, in two rows.
    """
    return chosen(_differ, len(have), have, keep, leave, said, (KEEP, LEAVE))
