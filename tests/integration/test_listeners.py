"""What a peer without a token can do at each listener: what docs/threat-model.md says, no more."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import psutil
import pytest
from envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from harness import CHECKOUT, RunForemesh, Running, eventually
from meshed import START_S, Mesh, listens
from services import SERVICE, answers, catalog_of, constituent, read, send

from streams.adapters.kafka.topics import create_topics
from streams.provisioners.keda import externalscaler_pb2, externalscaler_pb2_grpc
from streams.records import Outcome
from streams.request_path.envoy.addresses import PROCESSES, MeshAddresses
from streams.runtime.addresses import is_loopback
from streams.runtime.ports import free_ports
from streams.runtime.token_file import dashboard_token_of, token_of
from streams.settings import Settings

DOCUMENT = CHECKOUT / "docs" / "threat-model.md"


@dataclass
class House:
    """Every process that listens, on loopback, as it is by default."""

    settings: Settings
    mesh: Mesh
    gateway_at: str
    keda_at: str
    dashboard_at: str
    metrics_at: str
    processes: list[Running]

    def listening(self) -> set[tuple[str, int]]:
        """Where our processes and their children listen."""
        found = set()
        for running in self.processes:
            above = psutil.Process(running.pid)
            for process in (above, *above.children(recursive=True)):
                for one in process.net_connections("inet"):
                    if one.status == psutil.CONN_LISTEN:
                        found.add((one.laddr.ip.removeprefix("::ffff:"), one.laddr.port))
        return found


@pytest.fixture(scope="module")
def house(module_settings: Settings) -> Iterator[House]:
    settings, folder = module_settings, Path(module_settings.build).parent
    running: list[Running] = []

    def run(*args: str, **env: str) -> Running:
        output = folder / f"{len(running)}.log"
        allowed = {"FOREMESH_PROVISION_ALLOW_COMMAND": "*"}
        running.append(Running(args, {**settings.to_env(), **allowed, **env}, output))
        return running[-1]

    create_topics(settings)
    send(settings, catalog_of(constituent("a"), constituent("b", concurrency=8), room=8))
    ports = (f"127.0.0.1:{port}" for port in free_ports(4))
    gateway_at, keda_at, dashboard_at, metrics_at = ports
    try:
        mesh = Mesh(run)
        mesh.start(*(name for name in PROCESSES if name != "envoy"))
        env = {**mesh.env, "FOREMESH_METRICS_PORT": metrics_at.partition(":")[2]}
        gateway = run("gateway", "--listen", gateway_at, **env)
        scaler = run("keda", "--listen", keda_at)
        dashboard = run("dashboard", "--listen", dashboard_at)
        eventually(lambda: answers(gateway, gateway_at), START_S)
        eventually(lambda: listens(scaler, keda_at), START_S)
        eventually(lambda: listens(dashboard, dashboard_at), START_S)
        yield House(settings, mesh, gateway_at, keda_at, dashboard_at, metrics_at, running)
    finally:
        for one in running:
            one.kill()


async def ask(method: str, at: str, path: str, **headers: str) -> int:
    """The status of the answer to a request with a JSON body."""
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{at}{path}", json={}, headers=sent) as answer,
    ):
        return answer.status


async def statuses(at: str, *asked: tuple[str, str], **headers: str) -> list[int]:
    return [await ask(method, at, path, **headers) for method, path in asked]


PAGES = [  # what a page in a browser can bring, even if it has guessed the token
    ({"Origin": "http://localhost"}, 403),
    ({"Host": "evil.example"}, 421),
    ({"Content-Type": "text/plain"}, 415),
    ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
]


async def refuses_pages(house: House, at: str, path: str) -> None:
    for brought, status in PAGES:
        with_token = {"Authorization": f"Bearer {token_of(house.settings)}", **brought}
        assert await ask("POST", at, path, **with_token) == status


async def at_provisioner(house: House) -> None:
    at = house.mesh.provisioner_at
    asked = (("POST", "/standard"), ("POST", "/use"), ("GET", "/instances"), ("GET", "/healthz"))
    assert await statuses(at, *asked) == [401, 401, 401, 200]
    assert await statuses(at, *asked[:3], Authorization="Bearer wrong") == [401] * 3
    await refuses_pages(house, at, "/use")


async def at_gateway(house: House) -> None:
    answer = await ask("POST", house.gateway_at, "/only-b", x_foremesh_user="anyone")
    assert answer == 200


async def at_edge(house: House) -> None:
    tier = {"x_foremesh_tier": "gold", "x_request_id": "at-edge"}
    at = house.mesh.places.edge
    assert await ask("POST", at, "/only-b", x_foremesh_user="anyone", **tier) == 200

    def told() -> list[str]:
        found = [x for x in read(house.settings, "outcomes") if isinstance(x, Outcome)]
        return [one.tier for one in found if one.request_id == "at-edge"]

    assert eventually(told) == ["standard"]


async def at_inner(house: House) -> None:
    assert await ask("POST", house.mesh.places.inner, "/b") == 200


async def at_admin(house: House) -> None:
    reads = (("GET", "/stats"), ("GET", "/config_dump"), ("GET", "/ready"))
    changes = ("/quitquitquit", "/healthcheck/fail", "/logging?level=off", "/drain_listeners")
    at = house.mesh.places.admin
    assert await statuses(at, *reads) == [200] * 3
    assert await statuses(at, *(("POST", path) for path in changes)) == [403] * 4


async def at_control(house: House) -> None:
    asked = discovery_pb2.DiscoveryRequest(
        type_url="type.googleapis.com/envoy.config.listener.v3.Listener"
    )
    asked.node.id = "peer"
    async with grpc.aio.insecure_channel(house.mesh.places.control) as channel:
        stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
        stream = stub.StreamAggregatedResources()
        await stream.write(asked)
        told = await stream.read()
        stream.cancel()
    assert len(told.resources) == 2
    assert token_of(house.settings).encode() not in told.SerializeToString()


async def logs_nothing(at: str) -> None:
    async def entries() -> Any:
        yield als_pb2.StreamAccessLogsMessage()

    async with grpc.aio.insecure_channel(at) as channel:
        stub = als_pb2_grpc.AccessLogServiceStub(channel)
        assert await stub.StreamAccessLogs(entries()) == als_pb2.StreamAccessLogsResponse()


async def at_log(house: House) -> None:
    await logs_nothing(house.mesh.places.log)


async def at_decide(house: House) -> None:
    at = house.mesh.places.decide
    asked = (("POST", "/lease"), ("POST", "/release"), ("GET", "/healthz"))
    assert await statuses(at, *asked) == [401, 401, 200]
    assert await ask("GET", at, "/constituent/a") == 200
    await refuses_pages(house, at, "/lease")


async def at_leases(house: House) -> None:
    await logs_nothing(house.mesh.places.leases)


async def at_activate(house: House) -> None:
    at = house.mesh.places.activate
    assert await ask("POST", at, "/", x_foremesh_service="a") == 200


async def at_compose(house: House) -> None:
    assert await ask("POST", house.mesh.places.compose, "/all", x_foremesh_user="anyone") == 200


async def at_keda(house: House) -> None:
    ref = externalscaler_pb2.ScaledObjectRef(name="x", scalerMetadata={"constituent": "a"})
    async with grpc.aio.insecure_channel(house.keda_at) as channel:
        stub = externalscaler_pb2_grpc.ExternalScalerStub(channel)
        assert (await stub.GetMetricSpec(ref)).metricSpecs[0].targetSize == 1


async def at_dashboard(house: House) -> None:
    at = house.dashboard_at
    asked = (("GET", "/"), ("GET", "/section/users"), ("POST", "/change"), ("POST", "/"))
    assert await statuses(at, *asked) == [200, 200, 401, 401]
    assert await ask("POST", at, "/change", Authorization="Bearer wrong") == 401
    for brought, status in PAGES:
        token = {"Authorization": f"Bearer {dashboard_token_of(house.settings)}"}
        assert await ask("POST", at, "/change", **token, **brought) == status


async def at_metrics(house: House) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{house.metrics_at}/metrics") as answer,
    ):
        text = await answer.text()
    assert "foremesh_requests_total" in text
    assert token_of(house.settings) not in text


AT: dict[str, Callable[[House], Awaitable[None]]] = {
    "provisioner": at_provisioner,
    "gateway": at_gateway,
    "edge (Envoy)": at_edge,
    "inner (Envoy)": at_inner,
    "admin (Envoy)": at_admin,
    "control": at_control,
    "log": at_log,
    "decide": at_decide,
    "leases": at_leases,
    "activate": at_activate,
    "compose": at_compose,
    "keda": at_keda,
    "dashboard": at_dashboard,
    "metrics": at_metrics,
}


@pytest.mark.parametrize("name", AT)
async def test_a_peer_without_a_token_can_do_what_is_written_and_no_more(
    house: House, name: str
) -> None:
    await AT[name](house)


HALF = b"GET / HTTP/1.1\r\nhost:"  # which is no beginning of HTTP/2 either


def places(house: House) -> dict[str, str]:
    """Where each listener is; but the admin interface, which is Envoy's own."""
    ours = {"gateway": house.gateway_at, "keda": house.keda_at, "dashboard": house.dashboard_at}
    ours |= {"provisioner": house.mesh.provisioner_at, "metrics": house.metrics_at}
    mesh = asdict(house.mesh.places)
    return ours | {name: at for name, at in mesh.items() if name != "admin"}


async def is_ended(at: str) -> bool:
    """Whether a connection of which no whole request comes is ended."""
    host, _, port = at.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(HALF)
    try:
        await asyncio.wait_for(reader.read(), 30)
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    writer.close()
    return True


async def test_a_connection_whose_request_does_not_come_is_ended_at_every_listener(
    house: House,
) -> None:
    at = places(house)
    ended = await asyncio.gather(*map(is_ended, at.values()))

    assert [name for name, well in zip(at, ended, strict=True) if not well] == []


async def test_who_goes_away_before_the_answer_leaves_no_traceback(house: House) -> None:
    at = places(house)
    asked = "POST {} HTTP/1.1\r\nhost: x\r\nx-foremesh-user: u\r\nx-foremesh-service: b\r\n"
    waits = "expect: 100-continue\r\ncontent-length: 5\r\n\r\n"
    for name in ("gateway", "edge", "inner", "activate", "compose", "dashboard"):
        for path, rest in product(("/only-b", "/b"), ("content-length: 0\r\n\r\n", waits)):
            host, _, port = at[name].partition(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write((asked.format(path) + rest).encode())
            await asyncio.sleep(0.002)
            writer.transport.abort()
    await asyncio.sleep(1)

    assert [one.args for one in house.processes if "Traceback" in one.output] == []


def test_every_listener_is_written_down() -> None:
    rows = re.findall(r"^\| (\w[\w ()]*) \| .*127\.0\.0\.1", DOCUMENT.read_text(), re.MULTILINE)

    assert rows == list(AT)


def test_nothing_listens_but_what_is_written_down_and_instances_and_all_on_loopback(
    house: House,
) -> None:
    places = house.mesh.places.to_env().values()
    ours = [house.gateway_at, house.mesh.provisioner_at, house.keda_at]
    ours += [house.dashboard_at, house.metrics_at]
    known = {int(at.rpartition(":")[2]) for at in (*places, *ours)}
    found = house.listening()

    assert [host for host, _ in found if not is_loopback(host)] == []
    instances = {port for _, port in found} - known
    assert {port for _, port in found} >= known
    children = [
        child.cmdline()
        for running in house.processes
        for child in psutil.Process(running.pid).children(recursive=True)
    ]
    assert len(instances) == sum(SERVICE in words for words in children)


TAKEN = {  # what to start, and the variable of its address
    "gateway": ("gateway", "FOREMESH_GATEWAY_LISTEN"),
    "dashboard": ("dashboard", "FOREMESH_DASHBOARD_LISTEN"),
    "provision": ("provision", "FOREMESH_PROVISION_LISTEN"),
    "keda": ("keda", "FOREMESH_KEDA_LISTEN"),
    "control": ("mesh control", "FOREMESH_MESH_CONTROL"),
    "log": ("mesh log", "FOREMESH_MESH_LOG"),
    "decide": ("mesh decide", "FOREMESH_MESH_DECIDE"),
    "leases": ("mesh decide", "FOREMESH_MESH_LEASES"),
    "activate": ("mesh activate", "FOREMESH_MESH_ACTIVATE"),
    "compose": ("mesh compose", "FOREMESH_MESH_COMPOSE"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_an_address_that_is_taken_is_told_in_a_sentence(
    name: str, settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    words, variable = TAKEN[name]
    with socket.create_server(("127.0.0.1", 0)) as other:
        at = f"127.0.0.1:{other.getsockname()[1]}"
        env = {**MeshAddresses.on(free_ports(9)).to_env(), variable: at}
        started = run_foremesh(*words.split(), **env)
        assert started.wait(60) != 0
    assert "Traceback" not in started.output
    assert "never awaited" not in started.output
    assert f"cannot listen on {at}" in started.output.splitlines()[-1]
