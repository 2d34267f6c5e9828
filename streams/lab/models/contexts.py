"""Hashed contexts that describe a case after each of its events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["KINDS", "CaseContexts", "contexts", "numbered"]

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Part = tuple[Ints | Keys, ...]  # the values that one kind of context combines

KINDS = 27  # number of contexts per event
_HOUR_MS = 3_600_000
_TOGETHER_MS = 60_000  # events closer than that count as simultaneous
_DOUBLINGS = 0.7  # time buckets per doubling
_MOST_REPEATS = 8  # further repeats are not distinguished


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseContexts:
    """Events of several cases, one case after the other, each in its order."""

    activities: Ints  # numbered from 1
    attributes: Ints  # an event's other attributes taken together, numbered from 1
    at_ms: Ints
    first: Ints  # index of the first event of the event's case


def contexts(cases: CaseContexts) -> Keys:
    """Hashes of the contexts that the next event of each case may depend on.

    The last activities in order, as a bag, as a set; the attributes of the last events and of
    the first; time since the last event and since the first, and time of day; repeats; and
    the activities simultaneous with the last one.

    Parameters
    ----------
    cases
        The n events.

    Returns
    -------
    n x `KINDS`; row i describes the case after event i.
    """
    times = _times_before(cases)
    once = _since(np.where(times == 0, _mixed(cases.activities), np.uint64(0)), cases.first)
    parts = [
        *_by_activity(cases, times, once),
        *_by_attribute(cases, once),
        *_by_time(cases, once),
    ]
    return np.stack([_joined(part) for part in parts], 1)


def _by_activity(cases: CaseContexts, times: Ints, once: Keys) -> list[Part]:
    """Orders 0 to 5, the whole path, the bag and the set of all, the bag of the last four."""
    a, a1, a2, a3, a4 = (_back(cases, cases.activities, steps) for steps in range(5))
    symbols = _mixed(a)
    return [
        (np.zeros_like(a),),
        (a,),
        (a, a1),
        (a, a1, a2),
        (a, a1, a2, a3, a4),
        (_since(symbols * _mixed(_place(cases)), cases.first),),
        (a, _since(symbols, cases.first)),
        (a, once),
        (a, symbols + _mixed(a1) + _mixed(a2) + _mixed(a3)),
        (a, np.minimum(times, _MOST_REPEATS)),
    ]


def _by_attribute(cases: CaseContexts, once: Keys) -> list[Part]:
    """The attributes of the last two events and of the first, with the last activities."""
    a, a1, a2 = (_back(cases, cases.activities, steps) for steps in range(3))
    r, r1 = (_back(cases, cases.attributes, steps) for steps in range(2))
    first_a, first_r = cases.activities[cases.first], cases.attributes[cases.first]
    return [
        (a, r),
        (a, a1, r),
        (a, r, r1),
        (a, a1, a2, r),
        (a, r, once),
        (a, first_a, first_r),
        (a, r, first_r),
    ]


def _by_time(cases: CaseContexts, once: Keys) -> list[Part]:
    """Time since the last event and the first, time of day, and simultaneous events."""
    a, a1, a2 = (_back(cases, cases.activities, steps) for steps in range(3))
    r, begins = cases.attributes, _place(cases) == 0
    gap_ms = np.where(begins, 0, cases.at_ms - _back(cases, cases.at_ms, 1))
    since, elapsed = _bucket(gap_ms), _bucket(cases.at_ms - cases.at_ms[cases.first])
    run_from, batch_from = _last(begins | (a != a1)), _last(begins | (gap_ms >= _TOGETHER_MS))
    run = np.minimum(np.arange(len(a)) - run_from, _MOST_REPEATS)
    together = _since(_mixed(a), batch_from)
    return [
        (a, since),
        (a, a1, since),
        (a, a1, a2, since),
        (a, r, since),
        (a, elapsed),
        (a, once, elapsed),
        (a, cases.at_ms // _HOUR_MS % 24),
        (a, run, a1[run_from], since),
        (a, together),
        (a, together, since[batch_from]),
    ]


def numbered(keys: Keys) -> tuple[Ints, int]:
    """Number the distinct contexts of all kinds from 0; returns the numbers and their count."""
    rows = np.empty(keys.shape, np.int64)
    count = 0
    for kind in range(keys.shape[1]):
        distinct, numbers = np.unique(keys[:, kind], return_inverse=True)
        rows[:, kind] = numbers + count
        count += len(distinct)
    return rows, count


def _back(cases: CaseContexts, values: Ints, steps: int) -> Ints:
    """The values `steps` events earlier in the same case, 0 where there is none."""
    if steps == 0:
        return values
    earlier = np.arange(len(values)) - steps
    return np.where(earlier >= cases.first, values[np.maximum(earlier, 0)], 0)


def _place(cases: CaseContexts) -> Ints:
    """Position of each event in its case, from 0."""
    return np.arange(len(cases.first)) - cases.first


def _mixed(values: Ints | Keys) -> Keys:
    """Pseudo-random numbers, the same for the same values (splitmix64's finaliser)."""
    mixed = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _joined(part: Part) -> Keys:
    key = np.zeros(len(part[0]), np.uint64)
    for values in part:
        key = _mixed(key ^ _mixed(values))
    return key


def _since(values: Keys, start: Ints) -> Keys:
    """Sum, modulo 2^64, of the values from index `start` to each, independent of their order."""
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values, dtype=np.uint64)])
    differences: Keys = sums[1:] - sums[start]
    return differences


def _last(begins: npt.NDArray[np.bool_]) -> Ints:
    """Index of the latest event, up to each, for which `begins` is true."""
    return np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0))


def _times_before(cases: CaseContexts) -> Ints:
    """How often the activity of each event was done before in its case."""
    group = cases.first * (int(cases.activities.max(initial=0)) + 1) + cases.activities
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    begins = np.ones(len(ordered), bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    times = np.empty_like(order)
    times[order] = np.arange(len(order)) - _last(begins)
    return times


def _bucket(span_ms: Ints) -> Ints:
    return np.floor(np.log2(1 + np.maximum(span_ms, 0) / 1000) * _DOUBLINGS).astype(np.int64)
