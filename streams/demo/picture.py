"""One picture of the arms: what a thousand requests cost, in instances and in waits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from streams.demo.account import Account

__all__ = ["bars", "draw"]

WIDTH = 46  # characters of the longest bar
PARTS = {"warm instances": "#4575b4", "waiting for starts": "#d73027"}


def draw(accounts: Sequence[Account], path: Path) -> None:
    """Write the picture; the suffix (`.png`, `.svg`, `.pdf`) determines the format."""
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.subplots()
    at = np.arange(len(accounts))
    spent = np.array([account.of_thousand(account.spent) for account in accounts])
    waiting = np.array([account.of_thousand(account.waiting) for account in accounts])
    for (name, colour), height, below in zip(
        PARTS.items(), (spent, waiting), (np.zeros_like(spent), spent), strict=True
    ):
        axes.bar(at, height, 0.6, bottom=below, color=colour, label=name)
    for x, account in enumerate(accounts):
        text = f"{account.of_thousand(account.total):.2f}\n{_warm(account)} found warm"
        axes.annotate(text, (x, spent[x] + waiting[x]), ha="center", va="bottom", fontsize=11)
    axes.set(
        xticks=at,
        xticklabels=[account.title for account in accounts],
        ylabel="cost of 1,000 requests",
        title="The same requests, three times",
        ylim=(0, 1.2 * max(*(spent + waiting), 0.01)),
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)


def bars(accounts: Sequence[Account]) -> list[str]:
    """The same in text: `█` is spent on instances, `░` is what waits cost."""
    most = max((account.of_thousand(account.total) for account in accounts), default=0.0)
    return [_bar(account, most or 1.0) for account in accounts]


def _bar(account: Account, most: float) -> str:
    spent, total = account.of_thousand(account.spent), account.of_thousand(account.total)
    ends = [round(WIDTH * money / most) for money in (spent, total)]
    bar = "█" * ends[0] + "░" * (ends[1] - ends[0])
    return f"{account.title:21} {bar} {total:.2f}"


def _warm(account: Account) -> str:
    return f"{100 * account.hits / max(1, account.requests):.0f} %"
