from __future__ import annotations

import asyncio
import io
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from harness import Eventually, RunForemesh
from services import Door, catalog_of, command, constituent, read, send

from streams.records import Instance, InstanceState, Outcome, Request, Result, Route, Source
from streams.settings import Settings


def instances(settings: Settings, state: InstanceState) -> list[Instance]:
    """Those whose last record has this state."""
    last = {x.instance_id: x for x in read(settings, "instances") if isinstance(x, Instance)}
    return [instance for instance in last.values() if instance.state is state]


def outcomes(settings: Settings) -> list[Outcome]:
    return [record for record in read(settings, "outcomes") if isinstance(record, Outcome)]


async def test_a_miss_starts_what_is_missing_and_the_next_is_a_hit(
    settings: Settings,
    topics: list[str],
    run_foremesh: RunForemesh,
    eventually: Eventually,
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a"), constituent("b")))
    door = Door(run_foremesh)
    async with aiohttp.ClientSession() as session:
        first = await door.ask(session, "only-a", **{"x-request-id": "r1"})
        second = await door.ask(session, "together", **{"x-request-id": "r2"})
        third = await door.ask(session, "all", **{"x-request-id": "r3"})

    said = [answer.headers["x-foremesh"] for answer in (first, second, third)]
    assert said == ["miss", "partial", "hit"]
    assert third.body["answers"].keys() == {"a", "b"}
    assert "cold;dur=0" in third.headers["server-timing"]
    assert door.gateway.stop() == 0
    found = {outcome.request_id: outcome for outcome in outcomes(settings)}
    miss, hit = found["r1"], found["r3"]
    assert (miss.result, miss.route) == (Result.MISS, Route.STANDARD)
    assert (hit.result, hit.route, hit.cold_ms) == (Result.HIT, Route.PREALLOCATED, 0)
    assert miss.parts[0].warm_up_ms is not None
    assert 0 < miss.parts[0].warm_up_ms <= miss.cold_ms
    assert miss.cold_ms <= miss.latency_ms + 1
    assert hit.saved_ms > 0
    asked = [record for record in read(settings, "requests") if isinstance(record, Request)]
    assert {(x.request_id, x.source, x.parameters["width"]) for x in asked} == {
        (name, Source.GATEWAY, "512") for name in ("r1", "r2", "r3")
    }
    assert door.provisioner.stop() == 0
    eventually(lambda: len(instances(settings, InstanceState.GONE)) == 2)


async def test_a_commanded_instance_makes_a_hit(
    settings: Settings,
    topics: list[str],
    run_foremesh: RunForemesh,
    eventually: Eventually,
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    door = Door(run_foremesh)
    send(settings, [command("a", name="ahead")])
    eventually(lambda: instances(settings, InstanceState.WARM))

    async with aiohttp.ClientSession() as session:
        answer = await door.ask(session, "only-a")

    assert answer.headers["x-foremesh"] == "hit"


async def test_an_exclusive_instance_is_never_given_twice_under_200_concurrent_requests(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    alone = constituent("a", "--alone")
    send(settings, catalog_of(alone, room=3))
    door = Door(run_foremesh)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(door.ask(session, "only-a") for _ in range(3)))
        found = await asyncio.gather(*(door.ask(session, "only-a") for _ in range(200)))

    refused = [answer for answer in found if answer.status != 200]
    assert [answer.body for answer in refused if answer.status != 503] == []
    assert len(found) - len(refused) >= 64


async def test_beyond_the_queue_the_answer_is_503_with_retry_after(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    slow = constituent("slow", "--work-at-start", "3000000")
    send(settings, catalog_of(slow, room=1))
    door = Door(run_foremesh, FOREMESH_GATEWAY_QUEUE="2")
    async with aiohttp.ClientSession() as session:
        found = await asyncio.gather(*(door.ask(session, "only-slow") for _ in range(5)))

    refused = [answer for answer in found if answer.status == 503]
    assert Counter(answer.status for answer in found) == {200: 2, 503: 3}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert refused[0].body["error"] == "2 requests wait already for slow"


async def test_a_client_that_goes_away_waits_for_no_instance_and_starts_no_further_one(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    assert topics
    slow = constituent("slow", "--work-at-start", "30000000")
    send(settings, catalog_of(slow, constituent("next")))
    door = Door(run_foremesh)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(door.ask(session, "all", **{"x-request-id": "gone"}), 0.3)
        patient = await door.ask(session, "only-slow", **{"x-request-id": "patient"})
    assert patient.status == 200
    assert door.gateway.stop() == 0
    status = {outcome.request_id: outcome.status for outcome in outcomes(settings)}
    assert status == {"gone": 499, "patient": 200}
    assert {x.service for x in read(settings, "instances") if isinstance(x, Instance)} == {"slow"}
    eventually(lambda: len(instances(settings, InstanceState.WARM)) == 1)


async def test_a_dead_warm_instance_is_replaced_within_the_request(
    settings: Settings,
    topics: list[str],
    run_foremesh: RunForemesh,
    eventually: Eventually,
) -> None:
    assert topics
    once = constituent("a", "--quit-after", "1")
    send(settings, catalog_of(once, idempotent=True))
    door = Door(run_foremesh)
    async with aiohttp.ClientSession() as session:
        first = await door.ask(session, "only-a")
        second = await door.ask(session, "only-a")

    assert [first.status, second.status] == [200, 200]
    assert second.headers["x-foremesh"] == "miss"
    gone = eventually(lambda: instances(settings, InstanceState.GONE))
    assert gone[0].reason == "crashed: exited with code 7"


async def test_an_instance_that_lives_but_hangs_up_is_replaced(
    settings: Settings,
    topics: list[str],
    run_foremesh: RunForemesh,
    eventually: Eventually,
    tmp_path: Path,
) -> None:
    assert topics
    rude = constituent("a", "--hang-up-first", str(tmp_path / "hung-up"), concurrency=4)
    send(settings, catalog_of(rude))
    door = Door(run_foremesh)
    async with aiohttp.ClientSession() as session:
        answers = [await door.ask(session, "only-a") for _ in range(3)]

    assert [answer.status for answer in answers] == [502, 200, 200]
    gone = eventually(lambda: instances(settings, InstanceState.GONE))
    assert [one.reason for one in gone] == ["did not answer a request"]


async def test_an_instance_that_hangs_fails_one_request(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, tmp_path: Path
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a", "--stop-first", str(tmp_path / "asked"))))
    door = Door(run_foremesh, FOREMESH_GATEWAY_DEADLINE_MS="5000")
    async with aiohttp.ClientSession() as session:
        said = [(await door.ask(session, "only-a")).status for _ in range(3)]
    assert said == [504, 200, 200]


@pytest.mark.parametrize("status", ["302 Found\r\nlocation: /elsewhere", "101 Switching Protocols"])
async def test_an_instance_that_sends_elsewhere_has_not_answered(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, status: str
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a", "--answer", status)))
    door = Door(run_foremesh)
    async with aiohttp.ClientSession() as session:
        answer = await door.ask(session, "only-a")
    assert answer.status == 502
    assert answer.body["error"] == f"a answered with {status[:3]}"


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_client_names_its_tier_only_where_the_catalogue_trusts_it(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, *, trusted: bool
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a"), trust_tier_header=trusted))
    door = Door(run_foremesh)
    async with aiohttp.ClientSession() as session:
        answer = await door.ask(session, "only-a", **{"x-foremesh-tier": "gold"})

    assert answer.status == 200
    assert door.gateway.stop() == 0
    (outcome,) = outcomes(settings)
    assert outcome.tier == ("gold" if trusted else "standard")


async def test_what_is_not_a_request_of_ours_is_told_so(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a"), trust_tier_header=True))
    door = Door(run_foremesh)
    url = f"http://{door.gateway_at}"
    who = {"x-foremesh-user": "u1"}
    async with aiohttp.ClientSession() as session:

        async def said(path: str, status: int, **request: object) -> str:
            async with session.post(url + path, **request) as answer:  # type: ignore[arg-type]
                assert answer.status == status
                return str((await answer.json(content_type=None)) if status < 413 else "")

        assert "no composite service 'nope'" in await said("/nope", 404, headers=who)
        assert "x-foremesh-user is missing" in await said("/only-a", 400)
        assert "no tier 'tin'" in await said(
            "/only-a", 400, headers={**who, "x-foremesh-tier": "tin"}
        )
        assert "not JSON" in await said("/only-a", 400, headers=who, data=b"{")
        many = {str(n): 1 for n in range(100)}
        assert "100 parameters" in await said("/only-a", 400, headers=who, json=many)
        await said("/only-a", 413, headers=who, data=io.BytesIO(b"x" * 2_000_000))
