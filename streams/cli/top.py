"""`foremesh top`: a pool in the terminal, live: hit rate, what is warm, what was decided."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Group
from rich.live import Live

from streams.cli import pass_settings
from streams.cli.amounts import AmountParam
from streams.cli.console import PrintableConsole
from streams.cli.output import json_option, tell
from streams.report.text_table import set_apart
from streams.runtime.clock import wall_ms
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@click.option(
    "--pool", default="default", show_default=True, show_envvar=True, help="Name of the pool."
)
@click.option(
    "--every",
    "every_s",
    type=AmountParam(min=0.2),
    default=2.0,
    show_default=True,
    show_envvar=True,
    help="Seconds between two looks.",
)
@json_option(
    "one look: pool, now_ms, requests, hits, waited_ms, saved_ms (of the last hour),"
    " recent_requests, recent_hits (of 5 minutes), constituents (a list), decisions (a list)"
)
@pass_settings
def command(settings: Settings, pool: str, every_s: float, output: str) -> None:
    """Watch a pool: hit rate, instances by state and why, the latest decisions.

    It ends with q or Ctrl-C. In a pipe, and with --output json, it looks once. What it knows is in
    PostgreSQL, where `foremesh sink` writes it; `foremesh dashboard` shows more of it as a web page.
    """
    from streams.runtime.event_loop import until_signalled  # noqa: PLC0415  # keep --help instant

    if output == "json" or not sys.stdout.isatty():
        asyncio.run(_look_once(settings, pool, output))
    else:
        asyncio.run(until_signalled(lambda stop: _watch(settings, pool, every_s, stop)))


async def _look_once(settings: Settings, pool: str, output: str) -> None:
    # keep --help instant
    from streams.dashboard.database import ReadingDatabase  # noqa: PLC0415
    from streams.dashboard.glance import as_json, glance, tables  # noqa: PLC0415

    async with ReadingDatabase(settings.postgres) as database:
        seen = await glance(database, pool, wall_ms())
    tell(output, as_json(seen), *tables(seen))


async def _watch(settings: Settings, pool: str, every_s: float, stop: asyncio.Event) -> None:
    """Look again and again, until stopped or a q is typed."""
    # keep --help instant
    from streams.dashboard.database import ReadingDatabase  # noqa: PLC0415
    from streams.dashboard.glance import glance, tables  # noqa: PLC0415

    screen = Live(console=PrintableConsole(), screen=True)
    async with ReadingDatabase(settings.postgres) as database:
        with _stopped_by_q(stop), screen as live:
            while not stop.is_set():
                seen = await glance(database, pool, wall_ms())
                shown = Group(*set_apart([*tables(seen), "q ends this."]))
                live.update(shown, refresh=True)
                await _pause(stop, every_s)


@contextmanager
def _stopped_by_q(stop: asyncio.Event) -> Iterator[None]:
    """Have a q stop it at once, not only with the next Enter."""
    import termios  # noqa: PLC0415  # not on Windows
    import tty  # noqa: PLC0415

    if not sys.stdin.isatty():
        yield
        return
    loop, keys = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    tty.setcbreak(keys)
    loop.add_reader(keys, lambda: stop.set() if b"q" in os.read(keys, 64) else None)
    try:
        yield
    finally:
        loop.remove_reader(keys)
        termios.tcsetattr(keys, termios.TCSADRAIN, before)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
