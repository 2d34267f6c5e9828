"""Python's garbage collector, where there is hardly any garbage in cycles."""

from __future__ import annotations

import gc

__all__ = ["collect_seldom"]

_MADE = 20_000  # objects more than before, at which what is new is looked through: it was 700


def collect_seldom() -> None:
    """Leave out of collections what there is by now, and have fewer of them.

    What a replay makes is freed without them: they would take a tenth of its time.
    """
    gc.freeze()
    gc.set_threshold(_MADE)
