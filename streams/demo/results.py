"""The results of the demonstration for people: tables, bars, a picture and a verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from streams.demo.account import SLICES, Account
from streams.demo.picture import bars, draw

__all__ = ["show", "tables", "verdict"]

NEAR = 0.03  # shares that differ by less are called the same


def show(console: Console, accounts: Sequence[Account], best_timer: float, folder: Path) -> None:
    """Print tables, bars and verdict; write `report.json` and `report.png` into `folder`.

    Parameters
    ----------
    accounts
        Without pre-allocation, with a keep-alive, with foremesh.
    best_timer
        What instances and waits would cost together under the best keep-alive of any length.
    """
    said = verdict(accounts, best_timer)
    arms = {each.title: {**asdict(each), "total": each.total} for each in accounts}
    report = json.dumps({"verdict": said, "arms": arms}, indent=2)
    (folder / "report.json").write_text(report + "\n", encoding="utf-8")
    draw(accounts, folder / "report.png")
    console.print(*tables(accounts), sep="\n")
    console.print("Cost of 1,000 requests: █ warm instances, ░ waits", *bars(accounts), sep="\n")
    console.print("", said, *_troubles(accounts), sep="\n")
    console.print(f"{folder / 'report.png'} shows it; report.json beside it has all figures.")


def tables(accounts: Sequence[Account]) -> Iterator[Table]:
    """What each arm's requests cost, and which of them found all instances warm."""
    costs, slices = _table("1,000 requests"), _table("Found warm")
    _add_columns(costs, "found warm", "waited s", "instances", "+ waits", "= cost")
    _add_columns(slices, *SLICES)
    slices.add_row("of so many", *(str(of) for _, of in accounts[0].shares.values()))
    for each in accounts:
        money = (each.of_thousand(m) for m in (each.spent, each.waiting, each.total))
        waited = f"{each.of_thousand(each.waited_s):,.0f}"
        warm = _percent(each.hits, each.requests)
        costs.add_row(each.title, warm, waited, *(f"{m:.2f}" for m in money))
        slices.add_row(each.title, *(_percent(*each.shares[name]) for name in SLICES))
    yield from (costs, slices)


def verdict(accounts: Sequence[Account], best_timer: float) -> str:
    """What foremesh is worth against the other two arms, in a few sentences; see `show`."""
    without, timer, foremesh = accounts
    worst = min(SLICES, key=lambda name: _gain(name, foremesh, timer))
    return (
        f"Spending {_compared(foremesh.spent, timer.spent)} a {timer.title} on warm instances,"
        f" foremesh let its users wait {_compared(foremesh.waited_s, timer.waited_s)} it, and"
        f" {_compared(foremesh.waited_s, without.waited_s)} no pre-allocation. Instances and waits"
        f" together cost {_compared(foremesh.total, timer.total)} with the timer, which was tuned"
        f" afterwards on these very requests, and {_compared(foremesh.total, without.total)} with"
        f" no pre-allocation; by calculation the best keep-alive of any length would have cost"
        f" {foremesh.of_thousand(best_timer):.2f} for 1,000 requests. Over the timer it gained"
        f" least where the table says {worst!r}:"
        f" {_percent(*foremesh.shares[worst])} found warm against {_percent(*timer.shares[worst])}."
    )


def _gain(name: str, one: Account, other: Account) -> float:
    """By how much more of a slice's requests one arm found warm."""
    (hits, number), (others, _) = one.shares[name], other.shares[name]
    return (hits - others) / max(1, number)


def _compared(one: float, other: float) -> str:
    share = one / other - 1 if other else 0.0
    if abs(share) < NEAR:
        return "about as much as"
    return f"{100 * abs(share):.0f} % {'less' if share < 0 else 'more'} than"


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    return table


def _add_columns(table: Table, *columns: str) -> None:
    for column in columns:
        table.add_column(column, justify="right")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"


def _troubles(accounts: Sequence[Account]) -> Iterator[str]:
    for each in accounts:
        if each.late:
            yield f"{each.title}: {each.late} requests were sent late: the machine is too slow."
        if each.served < each.requests:
            yield f"{each.title}: {each.requests - each.served} requests were not served."
