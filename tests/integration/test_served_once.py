"""A request whose instance dies while serving it, through Envoy and through the gateway."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import psutil
import pytest
from harness import RunForemesh, Running, eventually
from meshed import START_S, Mesh
from services import Answer, Door, catalog_of, command, constituent, read, send

from streams.records import Instance, InstanceState
from streams.request_path.core.headers import IDEMPOTENT_HEADER
from streams.settings import Settings

ALL = ("control", "log", "decide", "activate", "compose")
MODES = {"lease": 1, "pool": 8}
PATHS = ("only-a", "all")  # straight to the instance, and orchestrated

pytestmark = pytest.mark.usefixtures("topics")


class Received:
    """How many requests instances of "a" have received; the first one kills who serves it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __int__(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    def first(self) -> None:
        """Let the first have been, so that none dies."""
        self.file.write_text(".")


@pytest.fixture
def received(tmp_path: Path) -> Received:
    return Received(tmp_path / "received")


def publish(settings: Settings, received: Received, mode: str, *, idempotent: bool = False) -> None:
    """A constituent of which an instance dies in the first request, and one that serves."""
    dies = constituent("a", "--quit-first", str(received.file), concurrency=MODES[mode])
    send(settings, catalog_of(dies, constituent("b", concurrency=8), idempotent=idempotent))


def has_warm(settings: Settings) -> bool:
    last = {x.instance_id: x for x in read(settings, "instances") if isinstance(x, Instance)}
    return any(one.state is InstanceState.WARM for one in last.values())


def start(run: RunForemesh, settings: Settings) -> tuple[Mesh, Running]:
    """A mesh whose Envoy knows a warm instance of "a", and its provisioner."""
    mesh = Mesh(run)
    running = mesh.start(*ALL)
    send(settings, [command("a")])
    name = "cluster.a.membership_total"
    eventually(lambda: mesh.stats(f"^{name}$").get(name) == 2, START_S)
    return mesh, running["provisioner"]


async def ask(mesh: Mesh, path: str, **headers: str) -> Answer:
    async with aiohttp.ClientSession() as session:
        return await mesh.ask(session, path, **headers)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", PATHS)
async def test_a_post_through_envoy_that_may_have_been_served_is_not_sent_again(
    settings: Settings, run_foremesh: RunForemesh, received: Received, mode: str, path: str
) -> None:
    publish(settings, received, mode)
    mesh, _ = start(run_foremesh, settings)

    answer = await ask(mesh, path, **{IDEMPOTENT_HEADER: "1"})  # users may not say so

    assert int(received) == 1
    assert (answer.status, answer.headers.get("retry-after")) == (502, None)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", PATHS)
async def test_a_post_through_envoy_is_sent_again_where_the_catalogue_says_it_may(
    settings: Settings, run_foremesh: RunForemesh, received: Received, mode: str, path: str
) -> None:
    publish(settings, received, mode, idempotent=True)
    mesh, _ = start(run_foremesh, settings)

    answer = await ask(mesh, path)

    assert int(received) == 2
    assert answer.status == 200


@pytest.mark.parametrize("mode", MODES)
async def test_a_post_that_the_activator_gave_to_an_instance_is_not_given_to_another(
    settings: Settings, run_foremesh: RunForemesh, received: Received, mode: str
) -> None:
    publish(settings, received, mode)
    mesh = Mesh(run_foremesh)
    mesh.start(*ALL)

    answer = await ask(mesh, "only-a")

    assert int(received) == 1
    assert answer.status == 502
    assert "a ended while it served" in answer.body["error"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_post_that_reaches_no_instance_is_sent_to_another(
    settings: Settings, run_foremesh: RunForemesh, received: Received, mode: str
) -> None:
    received.first()
    publish(settings, received, mode)
    mesh, provisioner = start(run_foremesh, settings)
    below = psutil.Process(provisioner.pid).children(recursive=True)
    [instance] = [one for one in below if "small_service" in " ".join(one.cmdline())]
    instance.kill()
    instance.wait(10)  # until then the kernel takes connections for it

    answer = await ask(mesh, "only-a")

    assert answer.status == 200
    assert int(received) == 2


@pytest.mark.parametrize("idempotent", [False, True])
async def test_the_gateway_sends_a_post_again_only_where_the_catalogue_says_it_may(
    settings: Settings, run_foremesh: RunForemesh, received: Received, idempotent: bool
) -> None:
    publish(settings, received, "pool", idempotent=idempotent)
    door = Door(run_foremesh)
    send(settings, [command("a")])
    eventually(lambda: has_warm(settings))
    async with aiohttp.ClientSession() as session:
        answer = await door.ask(session, "only-a")

    assert (answer.status, int(received)) == ((200, 2) if idempotent else (502, 1))
