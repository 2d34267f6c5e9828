"""The result of `foremesh compare` for people: a table, the curves against each other, a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from rich.text import Text

from streams.dashboard.trust import FEW
from streams.lab.compare.advantage import OTHERS, advantages
from streams.lab.compare.run import OURS, PolicyRow
from streams.report.text_table import NAME, NUMBER, TextTable

__all__ = ["RowLabel", "at_price_label", "shown", "verdict"]

TIMERS = ("no keep-alive", "keep-alive", "always warm")
ALIKE = 0.03  # relative difference of costs below which a timer does as well
SHOWN = 5  # rows of foremesh that are shown by default
RowLabel = tuple[str, str]  # policy and parameter: an oracle may have the one of a keep-alive
NOBODY_BUSY = "no request finds an instance busy (--duration names how long each took)"
SERVED = (
    "instances are busy for as long as the log says, with half of the requests {:.3g} s or less"
)


def at_price_label(price: float) -> str:
    """The parameter of foremesh's row at a factor on the price of warm time."""
    return f"{price:.3g} x price"


def shown(
    rows: Sequence[PolicyRow],
    *,
    hours: float,
    every: bool = False,
    today: RowLabel | None = None,
    guessed: bool = False,
    served_s: float = 0.0,
) -> Iterator[TextTable | Text]:
    """The rows, foremesh against the best other policies, and what follows from them.

    Parameters
    ----------
    hours
        Time in which requests were counted.
    every
        All rows, and not only the best of each policy.
    today
        The row of the keep-alive in use today.
    guessed
        Whether the catalogue was inferred from the log.
    served_s
        Half of the requests were served in so many seconds; 0 where the log does not say.
    """
    yield _table(rows if every else _selected(rows, today))
    yield from _advantages(rows)
    yield Text(verdict(rows, hours=hours, today=today, guessed=guessed, served_s=served_s))


def _selected(rows: Sequence[PolicyRow], today: RowLabel | None) -> list[PolicyRow]:
    """The best row of each policy by total cost, today's, and foremesh at some prices."""
    shown = {id(_best(rows, policy)) for policy in {row.policy for row in rows}}
    shown |= {id(row) for row in rows if (row.policy, row.parameter) == today}
    ours = [row for row in rows if row.policy == OURS]
    shown |= {id(row) for row in ours[:: max(1, len(ours) // SHOWN)]}
    shown |= {id(row) for row in ours if row.parameter == at_price_label(1.0)}
    return [row for row in rows if id(row) in shown]


def _best(rows: Iterable[PolicyRow], *policies: str) -> PolicyRow:
    return min((r for r in rows if r.policy in policies), key=lambda r: r.total_cost)


def _table(rows: Iterable[PolicyRow]) -> TextTable:
    heads = ("cold %", "waited s", "warm h", "warm cost", "and waits")
    return TextTable(
        columns={"policy": NAME, **dict.fromkeys(heads, NUMBER)},
        rows=[
            (
                f"{row.policy} {row.parameter}".strip(),
                f"{100 * row.cold_start_rate:.2f}",
                f"{row.cold_start_ms / 1000:,.0f}",
                f"{row.wasted_seconds / 3600:,.0f}",
                f"{row.cost:,.2f}",
                f"{row.total_cost:,.2f}",
            )
            for row in rows
        ],
        legend="Cold: requests that waited for a start; warm: the time of all instances together, and"
        " what it costs, without and with the waits. The oracles know the future.",
    )


def _advantages(rows: Sequence[PolicyRow]) -> Iterator[TextTable]:
    """Waits against those of the best other policies, if both were compared."""
    compared = [at for at in advantages(rows) if not math.isnan(at.ours_cold_s)]
    if not compared:
        return
    heads = ("cold %", "warm GB h", "wait s", "foremesh s", "% of it")
    yield TextTable(
        title="Wait for starts with the same warm memory",
        columns=dict.fromkeys(heads, NUMBER),
        rows=[
            (
                f"{100 * at.cold_start_rate:g}",
                f"{at.gb_hours:,.0f}",
                f"{at.cold_s:,.0f}",
                f"{at.ours_cold_s:,.0f}",
                f"{100 * at.ours_cold_s / at.cold_s:.0f}",
            )
            for at in compared
        ],
        legend=f"Against the best of {', '.join(OTHERS)}: where it has so many cold starts, with so"
        " much warm memory, its requests wait so long, and those of foremesh.",
    )


def verdict(
    rows: Sequence[PolicyRow],
    *,
    hours: float,
    today: RowLabel | None,
    guessed: bool,
    served_s: float,
) -> str:
    """Whether to adopt foremesh, in words and money, or why the rows do not tell."""
    ours = [row for row in rows if (row.policy, row.parameter) == (OURS, at_price_label(1.0))]
    timers = [row for row in rows if row.policy in TIMERS]
    if lacking := _lacking(ours, timers, hours):
        return f"No verdict: {lacking}."
    (mine,), best = ours, _best(timers, *TIMERS)
    told = [
        f"Counted: {mine.requests:,} requests in {hours:,.1f} hours.",
        "Costs are in the unit of the catalogue's prices.",
        _cost_of(mine, hours),
        _against(mine, best, hours, "the best timer in hindsight"),
    ]
    told += [
        _against(mine, row, hours, "the timer of today")
        for row in timers
        if (row.policy, row.parameter) == today
    ]
    told.append(_advice(mine, best))
    busy = SERVED.format(served_s) if served_s else NOBODY_BUSY
    told.append(f"Assumed: {busy}; starts take as the catalogue says.")
    if guessed:
        told.append("The catalogue was guessed from the log: give yours with --catalog.")
    return " ".join(told)


def _lacking(ours: Sequence[PolicyRow], timers: Sequence[PolicyRow], hours: float) -> str:
    if not ours:
        return f"foremesh was not compared; add {OURS} to --policies"
    if not timers:
        return "no timer was compared; add keep-alive to --policies"
    if hours <= 0.0:
        return "all requests that count came at once; take more of the log, or a lower --warm-up"
    return ""


def _cost_of(mine: PolicyRow, hours: float) -> str:
    return (
        f"foremesh would have cost {_short(mine.total_cost / hours)} an hour,"
        f" {_short(mine.cost / hours)} for warm instances and the rest for waiting"
        f" ({_short(100 * mine.cold_start_rate, 2)} % of the requests)."
    )


def _against(mine: PolicyRow, timer: PolicyRow, hours: float, what: str) -> str:
    saved = (timer.total_cost - mine.total_cost) / hours
    share = 100 * (1 - mine.total_cost / timer.total_cost) if timer.total_cost else 0.0
    name = f"{timer.policy} {timer.parameter}".strip()
    verb = "less" if saved >= 0 else "more"
    return (
        f"That is {_short(abs(saved))} an hour ({abs(share):.0f} %) {verb} than {what}, {name},"
        f" with {_short(timer.total_cost / hours)}."
    )


def _short(figure: float, digits: int = 3) -> str:
    """A figure to so many digits; one that is large as people write it."""
    return f"{float(f'{figure:.{digits}g}'):,.12g}"


def _advice(mine: PolicyRow, best: PolicyRow) -> str:
    if mine.requests < FEW:
        return f"Too early to say: it takes {FEW} requests."
    if mine.total_cost < (1 - ALIKE) * best.total_cost:
        return "Adopt it."
    if mine.total_cost <= (1 + ALIKE) * best.total_cost:
        return "A timer does as well here: there is no need to adopt it for this log."
    return "Do not adopt it for this log: a timer does better."
