"""A decision in sentences: what was decided, and what would have changed it."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose

from streams.records.control import Mode
from streams.records.verdicts import Choice, Verdict
from streams.report.text_table import counted

__all__ = ["decided", "what_would_change"]

ADVISED = 1e-6  # what is kept since its own past advises it is worth its cost, and no more


def decided(verdict: Verdict) -> str:
    """The decision as a sentence."""
    name, k = verdict.service, verdict.instance
    kept, be = counted(verdict.have, "instance"), "was" if verdict.have == 1 else "were"
    said = {
        Choice.START: f"instance {k} of {name} was started",
        Choice.QUEUE: f"instance {k} of {name} was wanted and queued",
        Choice.RELEASE: f"idle instances of {name} were given back",
        Choice.KEEP: f"{kept} of {name}, warm or starting, {be} kept, and no more started",
        Choice.LEAVE: f"no instance of {name} was started",
    }[verdict.choice]
    if verdict.challenger:
        return f"challenger {verdict.challenger} would have decided, on paper: {said}"
    return f"in the shadow, so nothing was done: {said}" if verdict.mode is Mode.SHADOW else said


def what_would_change(verdict: Verdict) -> Iterator[str]:
    """What would have led to another decision, one sentence each."""
    value, cost = verdict.value, verdict.cost
    if verdict.bound == "pin":
        yield "an operator's pin or mode decided: without it, value against cost would have"
    if verdict.choice is Choice.QUEUE:
        more = f"more {verdict.bound} in the pool"
        if verdict.bound == "quota":
            more = f"a higher quota of tier {verdict.tier!r}"
        yield f"{more}: it was worth {value:.3g} and cost {cost:.3g}"
        return
    if verdict.bound == "pin":
        return
    if value <= 0.0:
        yield "any expected request that needs it: there was none"
        return
    requests = sum(expected.requests for expected in verdict.expected)
    factor = cost / value
    paid = verdict.choice in {Choice.START, Choice.KEEP}
    if paid and isclose(value, cost, rel_tol=ADVISED):
        yield "other advice of its own past, which alone made it worth its cost"
        return
    below, than = ("below ", "above") if paid else ("", "below")
    yield f"a value {below}{factor:.3g} times what it was, {value:.3g} against {cost:.3g}"
    if verdict.choice is Choice.LEAVE:
        yield f"about {requests * factor:.3g} expected requests where {requests:.3g} were"
    price = verdict.price / max(factor, 1e-9)
    yield f"a price {than} {price:.3g} an hour where it was {verdict.price:.3g}"
