"""Load through the mesh while everything behind it comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import psutil
from harness import Running, eventually
from meshed import Mesh
from services import catalog_of, command, constituent, read, send

from streams.devstack.kafka import KafkaServer
from streams.records import Action, Instance, InstanceState, Outcome
from streams.settings import Settings

__all__ = ["Churned", "churn"]

COMPOSITES = ("only-a", "only-b", "only-c", "all")
ROOM = 12  # instances
PAUSE_S = 0.5


@dataclass
class Churned:
    """What came of it."""

    answers: Counter[str] = field(default_factory=Counter)  # status and result, or the fault
    asked: int = 0
    killed: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)  # by request, since each has one

    @property
    def failed(self) -> dict[str, int]:
        return {said: n for said, n in self.answers.items() if not said.startswith("200 ")}


async def churn(
    mesh: Mesh, settings: Settings, kafka: KafkaServer, seconds: float, rate: float
) -> Churned:
    """Ask at a steady rate; kill instances, the control plane once, restart Kafka once."""
    alone = constituent("a", "--alone")
    shared = [constituent(name, concurrency=8) for name in ("b", "c")]
    # An instance that is killed has perhaps served: without asking again, some would fail.
    send(settings, catalog_of(alone, *shared, room=ROOM, idempotent=True))
    running = mesh.start("control", "log", "decide", "activate", "compose")
    send(settings, [command(name, count=2) for name in "abc"])
    eventually(lambda: warm(settings) >= 6, 60)
    found = Churned()
    dice = random.Random(7)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        disturbing = [
            asyncio.create_task(_instances(settings, running["provisioner"], dice, found)),
            asyncio.create_task(_after(seconds / 4, lambda: _control(mesh, running["control"]))),
            asyncio.create_task(_after(seconds / 2, lambda: _broker(kafka))),
        ]
        async with asyncio.TaskGroup() as group:
            loop = asyncio.get_running_loop()
            began = loop.time()
            for number in range(round(seconds * rate)):
                await asyncio.sleep(began + number / rate - loop.time())
                group.create_task(_ask(mesh, session, dice.choice(COMPOSITES), number, found))
        disturbing[0].cancel()
        await asyncio.gather(*disturbing[1:])
    told = mesh.stats("access_logs.grpc_access_log.*")
    print(found.asked, dict(found.answers), found.killed, told)  # noqa: T201 - shown with -s
    await asyncio.to_thread(_count, settings, found)
    return found


def warm(settings: Settings) -> int:
    last = {x.instance_id: x for x in read(settings, "instances") if isinstance(x, Instance)}
    return sum(one.state is InstanceState.WARM for one in last.values())


async def _ask(
    mesh: Mesh, session: aiohttp.ClientSession, composite: str, number: int, found: Churned
) -> None:
    found.asked += 1
    name = f"churn-{number}"
    try:
        answer = await mesh.ask(session, composite, **{"x-request-id": name})
    except (aiohttp.ClientError, TimeoutError) as error:
        found.answers[f"{type(error).__name__}"] += 1
    else:
        said = f"{answer.status} {answer.headers.get('x-foremesh', '')}"
        found.answers[said if answer.status == 200 else f"{said} {answer.body}"] += 1


async def _instances(
    settings: Settings, provisioner: Running, dice: random.Random, found: Churned
) -> None:
    """Start, release and kill instances."""
    for number in range(10**9):
        await asyncio.sleep(PAUSE_S)
        service = dice.choice("abc")
        what = dice.choice(("provision", "release", "kill"))
        if what == "kill":
            alive = psutil.Process(provisioner.pid).children(recursive=True)
            services = [one for one in alive if "small_service" in " ".join(_cmdline(one))]
            if services:
                found.killed += 1
                with contextlib.suppress(psutil.NoSuchProcess):
                    dice.choice(services).kill()
        else:
            action = Action.PROVISION if what == "provision" else Action.RELEASE
            told = command(service, action=action, name=f"churn-{number}")
            await asyncio.to_thread(_send_if_there, settings, told)


def _send_if_there(settings: Settings, told: object) -> None:
    with contextlib.suppress(Exception):  # Kafka may be away just now
        send(settings, [told])  # type: ignore[list-item]


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


async def _after(seconds: float, what: Callable[[], Awaitable[None]]) -> None:
    await asyncio.sleep(seconds)
    await what()


async def _control(mesh: Mesh, control: Running) -> None:
    control.kill()
    await asyncio.sleep(1)
    mesh.again("control")


async def _broker(kafka: KafkaServer) -> None:
    await asyncio.to_thread(_restart, kafka)


def _restart(kafka: KafkaServer) -> None:
    """Stop the broker and start it again where it was."""
    kafka.stop()
    kafka.launch(tied=False)  # the calling thread ends before it
    kafka.wait()


def _count(settings: Settings, found: Churned) -> None:
    def all_told() -> bool:
        told = [x.request_id for x in read(settings, "outcomes") if isinstance(x, Outcome)]
        found.outcomes = Counter(name for name in told if name.startswith("churn-"))
        assert len(found.outcomes) == found.asked, f"{len(found.outcomes)} of {found.asked} told"
        return True

    eventually(all_told, 120)
