"""`foremesh produce --wait`: until the flow has taken all there is."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from streams.adapters.kafka.lag import GroupLag, group_lags
from streams.cli.console import PrintableConsole
from streams.errors import FlowStalled
from streams.settings import Settings

__all__ = ["wait_for_flow"]

ASK_S = 0.5
STALLED_S = 60.0  # without progress: nothing takes the records


def wait_for_flow(settings: Settings, *, recorded: bool, stalled_s: float = STALLED_S) -> None:
    """Wait until no stage has records left, nor the sink if one runs; with a progress bar.

    Parameters
    ----------
    settings
        Kafka.
    recorded
        Whether the log has times of its own, for a worker in event time.
    stalled_s
        How long to wait while nothing is taken.

    Raises
    ------
    FlowStalled
        Nothing was taken for `stalled_s` seconds.
    BrokerUnreachable
        No broker answers.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %, {task.fields[left]:,} records left"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=PrintableConsole(stderr=True)) as progress:
        task = progress.add_task("taken", total=None, left=0)
        most, farthest, moved_s = 0, -1, 0.0
        for left, taken in _answers(settings):
            if taken > farthest:  # while others produce, as much or more may be left
                farthest, moved_s = taken, time.monotonic()
            elif time.monotonic() - moved_s > stalled_s:
                raise _stalled(left, stalled_s, recorded=recorded)
            most = max(most, left)
            progress.update(task, total=most, completed=most - left, left=left)
        progress.update(task, total=max(most, 1), completed=max(most, 1), left=0)


def _answers(settings: Settings) -> Iterator[tuple[int, int]]:
    """How many records the groups have left, and have taken, until none is left."""
    while True:
        lags = [_waited_for(settings) for _ in range(2)]  # since what one takes another gets
        left = max(sum(lag.records for lag in some) for some in lags)
        if not left:
            return
        yield left, sum(lag.taken for lag in lags[-1])
        time.sleep(ASK_S)


def _waited_for(settings: Settings) -> list[GroupLag]:
    return [
        lag
        for lag in group_lags(settings)
        if lag.members or not (lag.optional or lag.stage == "sink")
    ]


def _stalled(left: int, stalled_s: float, *, recorded: bool) -> FlowStalled:
    clock = "FOREMESH_CLOCK=event " if recorded else ""
    return FlowStalled(
        f"Nothing was taken for {stalled_s:.0f} s, and {left:,} records are left: "
        f"start `{clock}foremesh worker`, or see what it says"
    )
