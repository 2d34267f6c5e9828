from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from harness import Eventually, RunForemesh, code_of
from harness import eventually as ask_until
from issuer import issuer, token
from meshed import Mesh, listens
from services import catalog_of, command, constituent, read, send

from streams.records import Instance, InstanceState, Outcome, Request, Result, Route, Source
from streams.records.catalog import Tier
from streams.runtime.ports import free_ports
from streams.settings import Settings

ALL = ("control", "log", "decide", "activate", "compose")


@pytest.fixture
def meshed(settings: Settings, topics: list[str], run_foremesh: RunForemesh) -> Mesh:
    """A mesh with an exclusive constituent "a" and a shared one "b", not started yet."""
    assert topics
    send(settings, catalog_of(constituent("a", "--alone"), constituent("b", concurrency=8)))
    return Mesh(run_foremesh)


def instances(settings: Settings, state: InstanceState) -> list[Instance]:
    last = {x.instance_id: x for x in read(settings, "instances") if isinstance(x, Instance)}
    return [instance for instance in last.values() if instance.state is state]


def outcomes(settings: Settings, count: int) -> dict[str, Outcome]:
    """All outcomes, by request, once there are so many; one each."""

    def told() -> dict[str, Outcome]:
        found = [x for x in read(settings, "outcomes") if isinstance(x, Outcome)]
        assert len(found) == count
        return {one.request_id: one for one in found}

    return ask_until(told)


async def test_a_miss_is_served_by_the_standard_path_and_the_next_is_a_hit(
    meshed: Mesh, settings: Settings
) -> None:
    running = meshed.start(*ALL)
    async with aiohttp.ClientSession() as session:
        found = {}
        for service in ("only-a", "only-b"):
            for number in (1, 2):
                name = f"{service}-{number}"
                found[name] = await meshed.ask(session, service, **{"x-request-id": name})
                await asyncio.sleep(0.3)
    said = {name: (answer.status, answer.headers["x-foremesh"]) for name, answer in found.items()}
    assert said == {
        "only-a-1": (200, "miss"),
        "only-a-2": (200, "hit"),
        "only-b-1": (200, "miss"),
        "only-b-2": (200, "hit"),
    }
    assert "desc=hit" in found["only-b-2"].headers["server-timing"]
    told = outcomes(settings, 4)
    for service in ("only-a", "only-b"):
        miss, hit = told[f"{service}-1"], told[f"{service}-2"]
        assert (miss.result, miss.route, miss.status) == (Result.MISS, Route.STANDARD, 200)
        assert miss.parts[0].warm_up_ms is not None
        assert 0 < miss.parts[0].warm_up_ms <= miss.cold_ms <= miss.latency_ms + 1
        assert (hit.result, hit.route, hit.cold_ms) == (Result.HIT, Route.PREALLOCATED, 0)
        assert hit.parts[0].instance_id == miss.parts[0].instance_id
        assert hit.saved_ms > 0
    asked = [x for x in read(settings, "requests") if isinstance(x, Request)]
    assert {(x.request_id, x.user, x.source) for x in asked} == {
        (name, "u1", Source.GATEWAY) for name in found
    }
    assert all(one.stop() == 0 for one in running.values())


async def test_a_composite_is_orchestrated_behind_envoy_and_each_part_is_a_hit_or_a_miss(
    meshed: Mesh, settings: Settings
) -> None:
    meshed.start(*ALL)
    async with aiohttp.ClientSession() as session:
        await meshed.ask(session, "only-b")
        await asyncio.sleep(0.3)
        partial = await meshed.ask(session, "all", **{"x-request-id": "partial"})
        await asyncio.sleep(0.3)
        hit = await meshed.ask(session, "all", **{"x-request-id": "hit"})

    assert (partial.headers["x-foremesh"], hit.headers["x-foremesh"]) == ("partial", "hit")
    assert hit.body["answers"].keys() == {"a", "b"}
    told = outcomes(settings, 3)
    assert {part.service: part.warm for part in told["partial"].parts} == {"a": False, "b": True}
    assert told["partial"].parts[0].warm_up_ms is not None
    assert all(part.instance_id for part in told["partial"].parts)
    assert (told["hit"].result, told["hit"].cold_ms) == (Result.HIT, 0)


async def test_an_instance_that_answers_with_503_is_told_as_one_that_failed(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a", "--answer", "503 Busy"), constituent("b")))
    meshed = Mesh(run_foremesh)
    meshed.start(*ALL)
    async with aiohttp.ClientSession() as session:
        several = await meshed.ask(session, "all")
        alone = await meshed.ask(session, "only-a")

    assert (several.status, several.body) == (502, {"error": "a answered with 503"})
    assert alone.status == 503
    assert Route.REFUSED not in {one.route for one in outcomes(settings, 2).values()}


async def test_one_cold_start_serves_many_that_wait(meshed: Mesh, settings: Settings) -> None:
    meshed.start(*ALL)
    async with aiohttp.ClientSession() as session:
        found = await asyncio.gather(*(meshed.ask(session, "only-b") for _ in range(8)))

    assert [answer.status for answer in found] == [200] * 8
    assert len({x.instance_id for x in read(settings, "instances") if isinstance(x, Instance)}) == 1
    assert len(outcomes(settings, 8)) == 8


async def test_an_exclusive_instance_is_never_given_twice_by_envoy(
    meshed: Mesh, settings: Settings
) -> None:
    meshed.start(*ALL)
    send(settings, [command("a", count=2)])
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        found = []
        for _ in range(10):  # an instance that is used twice at once answers with 409
            found += await asyncio.gather(*(meshed.ask(session, "only-a") for _ in range(12)))

    statuses = Counter(answer.status for answer in found)
    assert statuses == {200: 120}
    assert Counter(answer.headers["x-foremesh"] for answer in found)["hit"] >= 10


async def test_a_dead_instance_costs_the_request_that_meets_it_nothing_but_the_standard_path(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    once = ("--quit-after", "2")
    services = (constituent("a", *once), constituent("b", *once, concurrency=8))
    send(settings, catalog_of(*services, idempotent=True))
    meshed = Mesh(run_foremesh)
    meshed.start(*ALL)
    async with aiohttp.ClientSession() as session:
        for service in ("only-a", "only-b"):
            found = [await meshed.ask(session, service) for _ in range(9)]
            assert [answer.status for answer in found] == [200] * 9


async def test_an_instance_that_hangs_fails_the_one_request_that_it_was_started_for(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, tmp_path: Path
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a", "--stop-first", str(tmp_path / "asked"))))
    meshed = Mesh(run_foremesh)
    meshed.start(*ALL, FOREMESH_MESH_DEADLINE_MS="5000")
    async with aiohttp.ClientSession() as session:
        said = [(await meshed.ask(session, "only-a")).status for _ in range(3)]
    assert said == [504, 200, 200]


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_who_leaves_while_an_instance_starts_leaves_room_for_others(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, concurrency: int
) -> None:
    assert topics
    slow = constituent("a", "--wait", "1.5", concurrency=concurrency)
    send(settings, catalog_of(slow))
    meshed = Mesh(run_foremesh)
    meshed.start(*ALL, FOREMESH_MESH_QUEUE="1", FOREMESH_MESH_DEADLINE_MS="30000")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await meshed.ask(session, "only-a")
        stays = await meshed.ask(session, "only-a")

    assert (stays.status, stays.body) == (200, {})


async def test_a_decision_service_that_hangs_costs_20_ms_and_a_dead_one_nothing(
    meshed: Mesh, settings: Settings, eventually: Eventually
) -> None:
    running = meshed.start(*ALL)
    decider = running["decide"].process
    send(settings, [command("b", name="b")])
    async with aiohttp.ClientSession() as session:

        async def took(service: str) -> tuple[int, str, float]:
            began = time.perf_counter()
            answer = await meshed.ask(session, service)
            return answer.status, answer.headers["x-foremesh"], time.perf_counter() - began

        await took("only-a")
        eventually(lambda: instances(settings, InstanceState.WARM))
        decider.send_signal(signal.SIGSTOP)
        hung = await took("only-a")
        again = await took("only-a")
        pool = await took("only-b")
        decider.kill()
        dead = await took("only-a")

    assert [one[0] for one in (hung, again, pool, dead)] == [200] * 4
    assert pool[1] == "hit"
    assert again[2] < 0.25
    assert dead[2] < 0.2


async def test_what_a_client_says_of_instances_is_not_believed(
    meshed: Mesh, settings: Settings
) -> None:
    meshed.start(*ALL)
    async with aiohttp.ClientSession() as session:
        spoofed = {
            "x-gateway-destination-endpoint": meshed.places.admin,
            "x-foremesh-service": "b",
        }
        answer = await meshed.ask(session, "only-a", **spoofed)
        async with session.post(f"http://{meshed.places.edge}/only-a") as nobody:
            assert nobody.status == 400
        async with session.post(
            f"http://{meshed.places.edge}/nope", headers={"x-foremesh-user": "u"}
        ) as unknown:
            assert unknown.status == 404

    assert (answer.status, answer.headers["x-foremesh"]) == (200, "miss")
    started = [x.service for x in read(settings, "instances") if isinstance(x, Instance)]
    assert set(started) == {"a"}


@pytest.mark.parametrize("name", ALL)
def test_a_process_is_ready_once_it_listens(
    topics: list[str], run_foremesh: RunForemesh, name: str
) -> None:
    assert topics
    mesh, [port] = Mesh(run_foremesh), free_ports(1)
    running = mesh.again(name, FOREMESH_METRICS_PORT=str(port))

    ask_until(lambda: code_of(f"http://127.0.0.1:{port}/ready") == 200)

    assert listens(running, getattr(mesh.places, name))


async def test_the_user_of_a_verified_token_is_believed_and_nobody_else(
    meshed: Mesh, settings: Settings, tmp_path: Path
) -> None:
    meshed.env |= issuer(tmp_path)
    meshed.start(*ALL, FOREMESH_MESH_JWT_TIER_CLAIM="tier")
    good = token(sub="ann", tier="gold")
    async with aiohttp.ClientSession() as session:
        answer = await meshed.ask(session, "only-b", authorization=f"Bearer {good}")
        forged = good[:-4] + "AAAA"
        refused = await meshed.ask(session, "only-b", authorization=f"Bearer {forged}")
        nobody = await meshed.ask(session, "only-b")

    assert [answer.status, refused.status, nobody.status] == [200, 401, 401]
    (outcome,) = outcomes(settings, 1).values()
    assert (outcome.user, outcome.tier) == ("ann", "gold")


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_user_names_a_tier_only_where_the_catalogue_trusts_it(
    meshed: Mesh, settings: Settings, *, trusted: bool
) -> None:
    services = (constituent("a", "--alone"), constituent("b", concurrency=8))
    send(settings, catalog_of(*services, trust_tier_header=trusted))
    meshed.start(*ALL)
    async with aiohttp.ClientSession() as session:
        for composite in ("only-b", "all"):
            asked = {"x-request-id": composite, "x-foremesh-tier": "gold"}
            assert (await meshed.ask(session, composite, **asked)).status == 200

    told = {name: outcome.tier for name, outcome in outcomes(settings, 2).items()}
    assert told == dict.fromkeys(("only-b", "all"), "gold" if trusted else "standard")


async def test_no_user_and_an_unknown_tier_are_refused_as_by_the_gateway(
    meshed: Mesh, settings: Settings
) -> None:
    services = (constituent("a", "--alone"), constituent("b", concurrency=8))
    send(settings, catalog_of(*services, trust_tier_header=True))
    send(settings, [Tier(tier="gold", weight=2.0, sla_ms=1_000)])
    meshed.start(*ALL)
    async with aiohttp.ClientSession() as session:
        said = [
            await meshed.ask(session, composite, **headers)
            for composite in ("only-b", "all")
            for headers in (
                {"user": ""},
                {"x-foremesh-tier": "lead"},
                {
                    "user": "ü" * 256,
                    "x-request-id": f"{composite:r<256}",
                    "x-foremesh-tier": "gold",
                },
            )
        ]

    assert [answer.status for answer in said] == [400, 400, 200] * 2
    assert [answer.body["error"] for answer in said[:2]] == [
        "header x-foremesh-user is missing: it names the user of the request",
        "there is no such tier: the catalogue has standard, gold",
    ]
    outcomes(settings, 2)


async def ask_with_bytes(at: str, service: str, request_id: bytes) -> bytes:
    """The first line of the answer to a request with bytes in its id that are no text."""
    host, _, port = at.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /{service} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0"
    writer.write(
        head.encode() + b"\r\nx-foremesh-user: ann\r\nx-request-id: " + request_id + b"\r\n\r\n"
    )
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n")[0]


async def test_a_request_id_that_is_no_text_harms_no_other_request(
    meshed: Mesh, settings: Settings
) -> None:
    meshed.start(*ALL)
    async with aiohttp.ClientSession() as session:
        for number in range(6):
            said = await ask_with_bytes(meshed.places.edge, "only-a", b"r\xe9")
            assert said == b"HTTP/1.1 200 OK"
            answer = await meshed.ask(session, "only-a", **{"x-request-id": f"good-{number}"})
            assert answer.status == 200
        spoken = await ask_with_bytes(meshed.places.edge, "only-a", "n\u00e9e".encode())
        assert spoken == b"HTTP/1.1 200 OK"

        async def free() -> None:
            async with session.get(f"http://{meshed.places.decide}/healthz") as answer:
                assert (await answer.json())["leases"] == 0

        await until(free)

    def told() -> Counter[str]:
        found = [x for x in read(settings, "outcomes") if isinstance(x, Outcome)]
        return Counter(x.request_id for x in found)

    every = {"r!": 6, "n\u00e9e": 1} | {f"good-{number}": 1 for number in range(6)}
    ask_until(lambda: told() == every)
    assert told() == every


async def until(check: Callable[[], Awaitable[None]], timeout_s: float = 10.0) -> None:
    """Wait until a check passes."""
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                return await check()
            except AssertionError:
                await asyncio.sleep(0.1)
