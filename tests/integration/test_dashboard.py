"""The dashboard as people see it: a real page of real rows in a real browser."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
from browser import AXE, Chromium, WebPage, chromium
from harness import CHECKOUT, Running, eventually
from meshed import START_S, listens
from services import read, send
from test_report_from_database import store

from streams.adapters.kafka.topics import create_topics
from streams.dashboard.database import ReadingDatabase
from streams.demo.population import SyntheticPopulation
from streams.demo.studio import TIER, catalogue
from streams.errors import DatabaseUnreachable
from streams.pipeline.replay import ReplayedFlow
from streams.pipeline.replayed_rows import ReplayedRows
from streams.records import (
    Action,
    Command,
    Instance,
    InstanceState,
    Outcome,
    Prediction,
    Record,
    Request,
    Result,
    Route,
    ServiceProbability,
)
from streams.records.catalog import Catalog, Constituent
from streams.records.control import Control
from streams.runtime.clock import wall_ms
from streams.runtime.ports import free_ports
from streams.runtime.token_file import dashboard_token_of
from streams.settings import Settings

PICTURES = CHECKOUT / "build" / "dashboard"
MOST_BYTES = 300_000
HOSTILE = "<img src=x onerror=alert(1)>\u202eevil\x1b"
LIVE = "document.getElementById('live')?.dataset.state === 'live'"
LOOKS = [(width, dark) for width in (1440, 375) for dark in (False, True)]


@dataclass
class Board:
    """A dashboard that runs, and where its rows are."""

    settings: Settings
    at: str
    process: Running

    async def get(self, path: str) -> tuple[int, str, Any]:
        """Status, body and headers of what is there."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{self.at}{path}") as answer,
        ):
            return answer.status, await answer.text(), answer.headers

    async def change(self, token: str | None, **asked: object) -> tuple[int, str]:
        """Status and body of a change that is asked for."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://{self.at}/change", json=asked, headers=headers) as answer,
        ):
            return answer.status, await answer.text()


def studio() -> Catalog:
    """The demonstration's studio as slow as life, with the tier that requests of a log have."""
    found = [
        replace(one, warm_up_ms=15 * one.warm_up_ms) if isinstance(one, Constituent) else one
        for one in catalogue(6, "default")
    ]
    return Catalog.of([*found, replace(TIER, tier="standard")])


def requests(now_ms: int) -> Iterator[Request]:
    """What a few synthetic users asked for in the last hours."""
    people = SyntheticPopulation(users=20, styles=6, past_s=600.0, live_s=1.0, seed=7)
    for number, ask in enumerate(people.past()):
        yield Request(
            request_id=f"r{number}",
            user=ask.user,
            service=ask.service,
            at_ms=now_ms + round(15_000 * ask.at_s),
        )


def busy(now_ms: int) -> Instance:
    """An instance that serves."""
    return Instance(
        instance_id="busy", service="model 000", pool="default", state=InstanceState.BUSY,
        endpoint="http://127.0.0.1:1", command_id="c-start", started_ms=now_ms - 60_000,
        changed_ms=now_ms - 5_000, warm_since_ms=now_ms - 40_000, uses=3, busy_ms=9_000,
    )  # fmt: skip


def queued(now_ms: int) -> Command:
    """What is wanted and does not fit."""
    return Command(
        command_id="c-queue", pool="default", action=Action.QUEUE, service="model 001", count=1,
        value=0.4, cost=0.1, priority=1.0, issued_ms=now_ms - 1_000, expires_ms=now_ms + 600_000,
        reason="memory is short",
    )  # fmt: skip


def asked(now_ms: int) -> Outcome:
    """A request of somebody whose name is a trap."""
    return Outcome(
        request_id="hostile", user=HOSTILE, tier="standard", pool="default", service="animate",
        at_ms=now_ms, result=Result.HIT, route=Route.PREALLOCATED, status=200, latency_ms=12.5,
        cold_ms=0, saved_ms=900, parts=(),
    )  # fmt: skip


def of_now(now_ms: int) -> Sequence[Record]:
    """What a replay does not end with: instances in every state, a queue, names that are a trap."""
    starting = replace(busy(now_ms), instance_id="starting", state=InstanceState.STARTING)
    command = queued(now_ms)
    vector = (ServiceProbability(service=HOSTILE, probability=0.9, within=0.5),)
    prediction = Prediction(
        request_id="hostile", user=HOSTILE, services=vector, unseen=0.1, horizon_ms=60_000,
        expected_ms=(1_000, 30_000, 900_000), made_ms=now_ms, expires_ms=now_ms + 900_000, model="m",
    )  # fmt: skip
    return [
        busy(now_ms),
        replace(starting, warm_since_ms=None, uses=0, busy_ms=0),
        command,
        replace(command, command_id="c-start", action=Action.PROVISION, service="model 000"),
        replace(command, command_id="c-hostile", service=HOSTILE, reason=HOSTILE),
        prediction,
        asked(now_ms),
    ]


def fill(settings: Settings) -> None:
    """Rows of a replay up to now, and more of now."""
    now_ms = wall_ms() - 2_000
    flow = ReplayedFlow(settings, studio(), received_ms=now_ms)
    with ReplayedRows(settings.postgres, "log") as rows:
        for request in requests(now_ms):
            for record in flow.feed(request):
                rows.put(record)
    store(settings, of_now(now_ms))


@contextmanager
def backends_stopped(url: str) -> Iterator[None]:
    """Have the server's processes that serve a database do nothing, as on a disk that hangs."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    for [pid] in found:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for [pid] in found:
            os.kill(pid, signal.SIGCONT)


def whole(at: str) -> bytes:
    """The page as it is now: what is slow may not be there yet."""
    with urllib.request.urlopen(f"http://{at}/", timeout=10) as answer:
        found: bytes = answer.read()
    return found


@pytest.fixture(scope="module")
def board(module_settings: Settings) -> Iterator[Board]:
    settings, folder = module_settings, Path(module_settings.build).parent
    create_topics(settings)
    send(settings, studio())
    fill(settings)
    (port,) = free_ports(1)
    at = f"127.0.0.1:{port}"
    running = Running(("dashboard", "--listen", at), settings.to_env(), folder / "log")
    try:
        eventually(lambda: listens(running, at), START_S)
        eventually(lambda: b"c-queue" in whole(at) and b"waiting saved" in whole(at), START_S)
        eventually(lambda: b"is being read" not in whole(at), START_S)
        yield Board(settings, at, running)
    finally:
        running.kill()


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Chromium]:
    async with chromium() as started:
        yield started


@pytest.fixture
async def page(browser: Chromium, board: Board) -> AsyncIterator[WebPage]:
    """The page on a large screen, once it is live."""
    opened = await browser.page()
    await opened.look(1440, 900)
    await opened.go(f"http://{board.at}/")
    await opened.until(LIVE)
    yield opened
    await opened.close()


async def text(page: WebPage, selector: str) -> str:
    found: str = await page.run(f"document.querySelector({json.dumps(selector)}).innerText")
    return found


# --------------------------------------------------------------------------- what it says


async def test_the_page_comes_whole_and_answers_at_a_glance(board: Board) -> None:
    status, body, _ = await board.get("/")

    assert status == 200
    assert re.search(r"<strong>(Yes\.|No\.|About the same\.)</strong>", body)
    for told in ("1 busy", "1 starting", "queued", "% chance in 60 s", "hits now", "0 of"):
        assert told in body, told


async def test_a_page_loads_nothing_from_elsewhere_and_runs_nothing_that_is_in_it(
    board: Board,
) -> None:
    _, body, headers = await board.get("/")

    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert not re.findall(r"(?:src|href)=\"(?!/|#)", body)
    assert not re.findall(r"<style|\sstyle=|\son\w+=\"|<script(?! src=)", body)


async def test_the_page_and_all_that_it_loads_are_small(board: Board) -> None:
    _, body, _ = await board.get("/")
    size = len(body.encode())
    for path in set(re.findall(r"(?:src|href)=\"(/static/[^\"]+)\"", body)):
        size += len((await board.get(path))[1].encode())

    assert size < MOST_BYTES


async def test_names_from_outside_are_told_and_do_nothing(page: WebPage, browser: Chromium) -> None:
    assert await page.run("document.querySelectorAll('main img').length") == 0
    shown = await text(page, "#users")

    assert "<img src=x onerror=alert(1)>\\u202eevil" in shown
    assert "\u202e" not in await page.run("document.body.innerText")
    assert browser.troubles() == []


async def test_what_happens_is_shown_without_loading_again(page: WebPage, board: Board) -> None:
    await page.run("window.same = true")
    now_ms = wall_ms()
    command = replace(queued(now_ms), command_id="c-new", reason="news from now")
    store(board.settings, [command, replace(asked(now_ms), request_id="new")])

    await page.until("document.getElementById('decisions').innerText.includes('news from now')")
    assert await page.run("window.same")


async def test_a_decision_is_explained_by_one_click(board: Board) -> None:
    with psycopg.connect(board.settings.postgres) as connection:
        [(command_id,)] = connection.execute(
            "SELECT command_id FROM verdicts WHERE choice = 'start' LIMIT 1"
        ).fetchall()

    status, body, _ = await board.get(f"/explain?command={command_id}")

    assert status == 200
    assert "Why it was started" in body
    assert "What would have changed it" in body
    assert "Users behind it" in body


async def test_what_is_not_known_is_said(board: Board) -> None:
    _, pool, _ = await board.get("/section/money?pool=nowhere")
    _, why, _ = await board.get("/explain?command=none%00")
    _, vectors, _ = await board.get("/section/trust?pool=nowhere")
    _, compared, _ = await board.get("/section/verdict?pool=nowhere")

    assert "Nobody asked and nothing was warm" in pool
    assert "No decision of this name is known" in why
    assert "Not known yet" in vectors
    assert "nobody has asked for anything" in compared


async def test_from_a_few_requests_no_verdict_is_drawn(board: Board) -> None:
    now_ms = wall_ms()
    times_ms = (now_ms - 60_000, now_ms)
    few = [replace(asked(at), pool="new", request_id=f"new/{at}") for at in times_ms]
    store(board.settings, few)

    _, body, _ = await board.get("/section/verdict?pool=new")

    assert "Too early to say" in body
    assert "2 requests of this time" in body


async def test_without_postgresql_each_part_says_so(board: Board, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    at = f"127.0.0.1:{port}"
    nobody = "postgresql://nobody@127.0.0.1:1/none"
    env = {**board.settings.to_env(), "FOREMESH_POSTGRES": nobody}
    running = Running(("dashboard", "--listen", at), env, tmp_path / "log")
    try:
        eventually(lambda: listens(running, at), START_S)
        status, body = 0, ""
        async with asyncio.timeout(START_S):  # it comes at once, also before that is known
            while "No PostgreSQL answers" not in body:
                status, body, _ = await Board(board.settings, at, running).get("/")
    finally:
        running.kill()

    assert status == 200
    assert body.count("Not known yet:") >= 8


async def test_the_dashboard_cannot_write_to_the_database(board: Board) -> None:
    database = ReadingDatabase(board.settings.postgres)
    with (
        psycopg.connect(database.url) as connection,
        pytest.raises(psycopg.errors.Error) as refused,
    ):
        connection.execute("DELETE FROM outcomes")

    assert isinstance(refused.value, psycopg.errors.ReadOnlySqlTransaction)


async def test_a_statement_that_takes_too_long_is_given_up(board: Board) -> None:
    database = ReadingDatabase(board.settings.postgres)
    with psycopg.connect(board.settings.postgres) as blocker:
        blocker.execute("LOCK TABLE predictions")
        with pytest.raises(DatabaseUnreachable):
            await database.rows("vectors_from", name="", most=1)
    assert await database.rows("vectors_from", name="", most=1)
    await database.close()


async def test_a_database_that_hangs_is_told(board: Board) -> None:
    async with ReadingDatabase(board.settings.postgres) as database:
        await database.rows("pools")
        with backends_stopped(board.settings.postgres):
            async with asyncio.timeout(30):
                with pytest.raises(DatabaseUnreachable, match="does not answer in time"):
                    await database.rows("pools")
        assert await database.rows("pools")


# --------------------------------------------------------------------------- how it looks


@pytest.mark.parametrize(("width", "dark"), LOOKS)
async def test_it_can_be_read_by_everybody_on_every_screen(
    page: WebPage, browser: Chromium, board: Board, width: int, dark: bool
) -> None:
    await page.look(width, 900, dark=dark)
    await page.go(f"http://{board.at}/")
    await page.until(LIVE)
    await page.run("document.querySelectorAll('details').forEach((one) => one.open = true)")

    await page.run(AXE.read_text())
    found = await page.run(
        "axe.run().then((r) => r.violations.map((v) => [v.id, ...v.nodes.map((n) => n.html)]))"
    )
    PICTURES.mkdir(exist_ok=True)
    name = f"{width}-{'dark' if dark else 'light'}.png"
    (PICTURES / name).write_bytes(await page.screenshot())

    assert found == []
    assert await page.run("document.documentElement.scrollWidth") <= width
    assert await page.run("document.querySelectorAll('.chart canvas').length") == 2
    assert browser.troubles() == []


async def test_everything_is_reached_by_keyboard(page: WebPage) -> None:
    await page.run("document.getElementById('change').open = true")
    wanted = await page.run(
        "[...document.querySelectorAll('a[href],button,select,input,summary,[tabindex=\"0\"]')]"
        ".filter((one) => one.checkVisibility() && one.type !== 'hidden').length"
    )
    reached: set[str] = set()
    for _ in range(3 * wanted):
        await page.press("Tab")
        reached.add(
            await page.run(
                "(() => { const one = document.activeElement; one.dataset.place ??= Math.random();"
                " return one === document.body ? '' : one.dataset.place; })()"
            )
        )

    assert len(reached - {""}) >= wanted


async def test_an_explanation_opens_and_closes_by_keyboard(page: WebPage) -> None:
    await page.run("document.querySelector('#decisions a[data-explain]').focus()")
    before = await page.run("document.activeElement.getAttribute('href')")

    await page.press("Enter")
    await page.until("document.getElementById('explain').open")
    assert await text(page, "#explain-title")
    await page.press("Escape")
    await page.until("!document.getElementById('explain').open")

    assert await page.run("document.activeElement.getAttribute('href')") == before


async def test_an_open_part_and_the_focus_stay_when_a_section_changes(
    page: WebPage, board: Board
) -> None:
    await page.run("document.querySelector('#pool-cold summary').focus()")
    await page.press("Enter")
    now_ms = wall_ms()
    more = replace(busy(now_ms), instance_id=uuid.uuid4().hex, service="restore model")
    before = await text(page, "#pool .sums")
    store(board.settings, [more])

    await page.until(f"document.querySelector('#pool .sums').innerText !== {json.dumps(before)}")
    assert await page.run("document.getElementById('pool-cold').open")
    assert await page.run("document.activeElement.closest('details')?.id") == "pool-cold"


# --------------------------------------------------------------------------- what it changes


async def test_nothing_is_changed_without_token_name_and_reason(board: Board) -> None:
    token = dashboard_token_of(board.settings)
    pause = {"pool": "default", "change": "pause"}

    assert (await board.change(None, **pause, by="ann", reason="a sale"))[0] == 401
    assert (await board.change("wrong", **pause, by="ann", reason="a sale"))[0] == 401
    assert (await board.change(token, **pause, reason="a sale"))[0] == 400
    assert (await board.change(token, **pause, by="ann"))[0] == 400
    assert (await board.change(token, change="pause", pool="no", by="ann", reason="sale"))[0] == 400
    assert read(board.settings, "control") == []


async def test_an_operator_pins_with_name_and_reason_and_everybody_sees_it(
    page: WebPage, board: Board
) -> None:
    fields = {
        "what": "pin", "service": "model 003", "least": "2", "by": "ann",
        "token": dashboard_token_of(board.settings), "reason": "a sale <b>today</b>",
    }  # fmt: skip
    await page.run("document.getElementById('change').open = true")
    for name, value in fields.items():
        field = f"document.getElementById('change-{name}')"
        await page.run(f"{field}.value = {json.dumps(value)}")
        await page.run(f"{field}.dispatchEvent(new Event('change'))")
    await page.run("document.getElementById('change-reason').focus()")

    await page.press("Enter")
    await page.until("document.getElementById('change-said').innerText.startsWith('In force')")
    await page.until("document.querySelector('.pins')?.innerText.includes('model 003')")

    (told,) = read(board.settings, "control")
    assert isinstance(told, Control)
    assert (told.by, told.reason) == ("ann", "a sale <b>today</b>")
    assert told.at_ms > wall_ms() - 60_000
    store(board.settings, [told])  # as the sink does
    await page.until("document.querySelector('.history')?.innerText.includes('by ann')")
    assert "a sale <b>today</b>" in await text(page, ".history")
