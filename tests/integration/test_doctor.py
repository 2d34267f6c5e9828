from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer
from harness import RunForemesh, Running, eventually
from services import Door, catalog_of, constituent, send

from streams.adapters.kafka.clients import producer_config
from streams.devstack import LocalStack
from streams.pipeline.event_time.presence import GroupPresence
from streams.settings import Settings


def findings(running: Running, exit_code: int) -> dict[str, list[dict[str, Any]]]:
    assert running.wait() == exit_code, running.output
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(running.output):
        found.setdefault(finding["check"], []).append(finding)
    return found


@pytest.fixture
def loaded(settings: Settings, topics: list[str]) -> None:
    """A catalogue is in force."""
    assert topics
    send(settings, catalog_of(constituent("a")))


@pytest.mark.usefixtures("loaded")
def test_a_stack_with_topics_schema_and_catalogue_is_well(run_foremesh: RunForemesh) -> None:
    found = findings(run_foremesh("doctor", "--output", "json"), 0)

    assert {"broker", "topics", "schemas", "database", "lag of profiler", "lag of sink"} <= set(
        found
    )


def test_a_catalogue_that_nobody_has_loaded_is_told_with_its_fix(
    topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics

    (finding,) = findings(run_foremesh("doctor", "--output", "json"), 1)["catalogue"]

    assert finding["says"] == "is empty, so nothing is started: run `foremesh catalog load`"


@pytest.mark.usefixtures("loaded")
def test_what_transactions_leave_behind_is_no_lag(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    own = {"transactional.id": f"{settings.prefix}shop"}
    producer = Producer({**producer_config(settings), **own})
    producer.init_transactions(20)
    for _ in range(3):
        producer.begin_transaction()
        producer.produce(settings.topic("outcomes"), b"x", b"k")
        assert producer.flush(20) == 0
        producer.abort_transaction(20)

    found = findings(run_foremesh("doctor", "--output", "json"), 0)

    assert found["lag of feedback"][0]["says"] == "0 members, 0 records behind"


def test_what_waits_for_a_transaction_that_is_open_is_told(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    leave_one(settings, "outcomes")
    own = {"transactional.id": f"{settings.prefix}shop"}
    producer = Producer({**producer_config(settings), **own})
    producer.init_transactions(20)
    producer.begin_transaction()
    for _ in range(3):
        producer.produce(settings.topic("outcomes"), b"x", b"k")
    assert producer.flush(20) == 0

    found = findings(run_foremesh("doctor", "--output", "json"), 1)

    assert found["lag of feedback"][0]["says"] == (
        "0 members, 4 records behind, 3 of them waiting for a transaction that is open to end:"
        " run `foremesh worker feedback`"
    )


def test_missing_topics_are_named_with_their_fix(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    found = findings(run_foremesh("doctor", "--output", "json"), 1)

    (finding,) = found["topics"]
    assert "topics are missing: run `foremesh topics create`" in finding["says"]
    assert settings.topic("requests") in finding["says"]


def leave_one(settings: Settings, topic: str) -> None:
    """Put a record on a topic."""
    producer = Producer(producer_config(settings))
    producer.produce(settings.topic(topic), b"x")
    assert producer.flush(20) == 0


def test_records_that_nobody_reads_are_reported(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    leave_one(settings, "outcomes")

    found = findings(run_foremesh("doctor", "--output", "json"), 1)

    assert found["lag of feedback"][0]["says"] == (
        "0 members, 1 record behind: run `foremesh worker feedback`"
    )
    assert found["lag of sink"][0]["says"].endswith("run `foremesh sink`")
    assert found["lag of profiler"][0]["ok"]


def test_of_an_optional_stage_that_nobody_runs_is_said_why_that_is_no_fault(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    leave_one(settings, "commands")

    found = findings(run_foremesh("doctor", "--output", "json"), 1)  # for the sink, which waits too

    (finding,) = found["lag of provisioner"]

    assert finding["ok"]
    assert finding["says"] == (
        "0 members, 1 record behind: no fault, `foremesh worker provisioner` only simulates"
        " instances, where no `foremesh provision` starts them"
    )


@pytest.mark.usefixtures("loaded")
def test_commands_that_nobody_carries_out_are_told(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    leave_one(settings, "commands")

    found = findings(run_foremesh("doctor", "--output", "json"), 1)  # for the sink, which waits too

    (finding,) = found["lag of provision"]

    assert not finding["there"]
    assert finding["says"] == (
        "0 pools with a provisioner, 1 command behind: nothing is started before somebody runs"
        " `foremesh provision`"
    )


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize(
    ("runs", "runs_as"),
    [
        ("provision --listen 127.0.0.1:0", "lag of provision"),
        ("worker provisioner", "lag of provisioner"),
    ],
)
def test_commands_that_somebody_carries_out_are_well(
    settings: Settings, run_foremesh: RunForemesh, runs: str, runs_as: str
) -> None:
    leave_one(settings, "commands")
    run_foremesh(*runs.split())

    def well() -> bool:
        asked = run_foremesh("doctor", "--output", "json")
        asked.wait()
        found = json.loads(asked.output)
        return all(one["there"] for one in found if one["check"] == runs_as)

    eventually(well, 30)


def test_stages_that_a_worker_in_event_time_runs_are_well(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    leave_one(settings, "outcomes")
    presence = GroupPresence(settings)
    presence.enter()

    found = findings(run_foremesh("doctor", "--output", "json"), 1)  # for the sink, which waits too
    presence.close()

    for stage, behind in ("profiler", "0 records"), ("feedback", "1 record"):
        (finding,) = found[f"lag of {stage}"]
        assert (finding["ok"], finding["there"]) == (True, True)
        assert finding["says"] == f"a worker in event time runs it, {behind} behind"
    assert not found["lag of sink"][0]["ok"]


def test_a_database_without_schema_is_reported(
    stack: LocalStack, settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    empty = f"{psycopg.conninfo.conninfo_to_dict(settings.postgres)['dbname']}-empty"
    try:
        url = stack.postgres.create(empty)
        found = findings(run_foremesh("doctor", "--output", "json", FOREMESH_POSTGRES=url), 1)
        assert "run `foremesh db migrate`" in found["database"][0]["says"]
    finally:
        stack.postgres.drop(empty)


def test_a_broker_that_is_not_there_is_reported_within_seconds(
    run_foremesh: RunForemesh,
) -> None:
    running = run_foremesh("doctor", "--output", "json", FOREMESH_KAFKA="127.0.0.1:9")

    found = findings(running, 1)

    assert "No Kafka broker answers at 127.0.0.1:9" in found["broker"][0]["says"]
    assert "topics" not in found


def test_a_missing_column_is_named(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    with psycopg.connect(settings.postgres) as connection:
        connection.execute("ALTER TABLE dead_letters DROP COLUMN sha256")

    found = findings(run_foremesh("doctor", "--output", "json"), 1)

    assert "lacks the columns dead_letters.sha256" in found["database"][0]["says"]


def test_servers_are_asked_for_their_health(topics: list[str], run_foremesh: RunForemesh) -> None:
    assert topics
    door = Door(run_foremesh)
    env = {
        "FOREMESH_GATEWAY": door.gateway_at,
        "FOREMESH_PROVISIONER": f"http://{door.provisioner_at}",
        "FOREMESH_MESH_DECIDE": "127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",  # knows no way to servers of this machine
    }

    found = findings(run_foremesh("doctor", "--output", "json", **env), 1)

    assert found["gateway"][0]["ok"]
    assert found["provisioner"][0]["ok"]
    assert found["mesh decide"][0]["says"].startswith("does not answer at 127.0.0.1:9: start it")


@pytest.mark.usefixtures("loaded")
async def test_a_server_that_trickles_its_answer_is_not_waited_for(
    run_foremesh: RunForemesh,
) -> None:
    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.1)

    async with await asyncio.start_server(trickle, "127.0.0.1") as server:
        host, port = server.sockets[0].getsockname()
        asked = run_foremesh("doctor", "--output", "json", FOREMESH_GATEWAY=f"{host}:{port}")
        found = await asyncio.to_thread(findings, asked, 1)

    assert "no answer in 2 s" in found["gateway"][0]["says"]


@pytest.mark.usefixtures("loaded")
def test_addresses_that_only_say_where_to_listen_are_not_asked(run_foremesh: RunForemesh) -> None:
    everywhere = {"FOREMESH_MESH_EDGE": "0.0.0.0:8000", "FOREMESH_GATEWAY": "[::]:8080"}

    found = findings(run_foremesh("doctor", "--output", "json", **everywhere), 0)

    assert not {"mesh edge", "gateway"} & set(found)


@pytest.mark.usefixtures("loaded")
def test_the_table_is_for_people(run_foremesh: RunForemesh) -> None:
    assert "as declared" in run_foremesh("doctor").finish()
