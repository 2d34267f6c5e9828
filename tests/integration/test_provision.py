from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import aiohttp
import psutil
from confluent_kafka import Consumer
from harness import CHECKOUT, Eventually, RunForemesh
from services import SERVICE, Door, catalog_of, command, constituent, read, send
from topic_changes import admin, delete

from streams.adapters.kafka.clients import consumer_config, producer_config
from streams.adapters.kafka.lag import committed_offsets
from streams.adapters.kafka.topics import create_topics
from streams.broker.offsets import end_offsets
from streams.catalog.yaml_writer import dump
from streams.devstack.kafka import KafkaServer
from streams.engine.producer import CheckedProducer
from streams.flow.components import POOL_GROUP
from streams.records import Action, DeadLetter, Instance, InstanceState, Utilisation
from streams.runtime.ports import free_port
from streams.settings import Settings


def last(settings: Settings) -> dict[str, Instance]:
    """The last record of each instance."""
    return {x.instance_id: x for x in read(settings, "instances") if isinstance(x, Instance)}


def in_state(settings: Settings, state: InstanceState) -> list[Instance]:
    return [instance for instance in last(settings).values() if instance.state is state]


def services_of(pids: set[int]) -> set[int]:
    """Those of these processes that still run."""
    return {pid for pid in pids if psutil.pid_exists(pid)}


def family(pid: int) -> set[int]:
    """The instances below a provisioner, and their children."""
    found = psutil.Process(pid).children(recursive=True)
    return {p.pid for p in found if SERVICE in p.cmdline()}


def test_commands_are_carried_out_once_and_told(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a"), room=3))
    Door(run_foremesh)
    send(settings, [command("a", count=2, name="c1"), command("a", count=2, name="c1")])

    warm = eventually(lambda: in_state(settings, InstanceState.WARM))
    eventually(lambda: len(in_state(settings, InstanceState.WARM)) == 2)
    assert {instance.command_id for instance in warm} == {"c1"}
    send(settings, [command("a", action=Action.RELEASE, count=1, name="c2")])
    eventually(lambda: len(in_state(settings, InstanceState.GONE)) == 1)
    assert len(last(settings)) == 2
    told = [x for x in read(settings, "utilisation") if isinstance(x, Utilisation)]
    assert told[0].capacity.cpu == 300
    assert max(x.used.cpu for x in told) >= 200


def test_commands_on_a_topic_made_anew_are_not_read_twice(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a"), room=3))
    door = Door(run_foremesh)
    send(settings, [command("a", name=f"c{number}") for number in range(4)])
    eventually(lambda: in_state(settings, InstanceState.WARM))
    delete(settings, "commands")
    create_topics(settings)
    send(settings, [command("a", action=Action.RELEASE, count=3, name="r")])
    eventually(lambda: not in_state(settings, InstanceState.WARM), 30)

    ends = end_offsets(admin(settings), [settings.topic("commands")])
    (end,) = [one for one in ends.items() if one[1]]
    group = settings.group(POOL_GROUP + "default")
    eventually(lambda: committed_offsets(admin(settings), group).items() >= {end})
    assert "not committed" not in door.provisioner.output


def test_a_second_provisioner_of_a_pool_leaves_the_instances_of_the_first(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    Door(run_foremesh)
    send(settings, [command("a")])
    eventually(lambda: in_state(settings, InstanceState.WARM))

    second = run_foremesh("provision", "--listen", f"127.0.0.1:{free_port()}")

    assert second.wait(20) == 1
    assert "A provisioner of pool 'default' runs on this machine" in second.output
    assert [one.state for one in last(settings).values()] == [InstanceState.WARM]


def test_a_pool_that_a_provisioner_on_another_machine_has_is_refused_until_that_ends(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    assert topics
    group = settings.group(POOL_GROUP + "default")
    elsewhere = Consumer({**consumer_config(settings, group), "client.id": "foremesh-elsewhere"})
    elsewhere.subscribe([settings.topic("commands")])
    eventually(lambda: elsewhere.poll(0.1) is None and elsewhere.assignment(), 30)

    second = run_foremesh("provision", "--listen", f"127.0.0.1:{free_port()}")

    assert second.wait(30) == 1
    assert "A provisioner of pool 'default' runs at 127.0.0.1: end it first" in second.output
    elsewhere.close()
    Door(run_foremesh)


async def test_a_request_waits_for_a_provisioner_that_starts_again(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    door = Door(run_foremesh)
    assert door.provisioner.stop() == 0
    async with aiohttp.ClientSession() as session:
        asked = asyncio.create_task(door.ask(session, "only-a"))
        await asyncio.sleep(0.5)  # more than a retry: nobody listens there

        door.provisioner = run_foremesh("provision", "--listen", door.provisioner_at)

        assert (await asked).status == 200


def test_a_killed_provisioner_leaves_no_orphan_and_its_instances_are_gone_after_a_restart(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a", "--child")))
    door = Door(run_foremesh)
    send(settings, [command("a", count=3, expires_in_ms=8_000)])
    eventually(lambda: len(in_state(settings, InstanceState.WARM)) == 3)
    children = family(door.provisioner.pid)
    assert len(children) == 6

    os.kill(door.provisioner.pid, signal.SIGKILL)

    eventually(lambda: not services_of(children), 5.0)
    before = set(last(settings))
    Door(run_foremesh)
    gone = eventually(lambda: [x for n, x in last(settings).items() if n in before and x.gone_ms])
    assert {x.reason for x in gone} == {"its provisioner ended before it"}


def test_an_instance_that_ends_for_a_limit_is_told_so_where_limits_are_possible(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    assert topics
    send(settings, catalog_of(constituent("greedy", "--mib", "64")))  # of 32 that it declares
    asked = {"FOREMESH_PROVISION_LIMIT": "memory cpu", "FOREMESH_PROVISION_LIMIT_IF_POSSIBLE": "1"}
    door = Door(run_foremesh, **asked)
    send(settings, [command("greedy")])
    state = InstanceState.GONE
    if "Instances cannot be limited, since" in door.provisioner.output:
        state = InstanceState.WARM
    (instance, *_) = eventually(lambda: in_state(settings, state))

    limited = "took more than its limit of 32 MiB of memory" in instance.reason
    assert limited == (state is InstanceState.GONE)


async def test_requests_are_served_by_what_is_forked_from_a_base_and_never_by_the_base(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    zygote = ("{python}", "-S", "-I", "{zygote}", "--import", "asyncio")
    layers = (
        replace(constituent("model"), command=zygote),
        replace(constituent("sketch"), base="model"),
    )
    send(settings, catalog_of(*layers))
    door = Door(run_foremesh)
    async with aiohttp.ClientSession() as session:
        first = await door.ask(session, "only-sketch")
        again = await door.ask(session, "only-sketch")
        base = await door.ask(session, "only-model")

    assert (first.status, first.headers["x-foremesh"]) == (200, "miss")
    assert (again.status, again.headers["x-foremesh"]) == (200, "hit")
    assert base.status >= 400


def test_what_is_no_command_goes_to_the_dead_letters(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    Door(run_foremesh)
    producer = CheckedProducer(producer_config(settings))
    producer.send(settings.topic("commands"), b"default", b"noise")
    producer.flush(20)
    send(settings, [command("a")])

    eventually(lambda: in_state(settings, InstanceState.WARM))
    (letter,) = [x for x in read(settings, "dead-letters") if isinstance(x, DeadLetter)]
    assert (letter.stage, letter.value) == ("provisioner", b"noise")
    assert "not Avro single-object" in letter.reason


def test_a_pool_that_the_catalogue_does_not_have_is_told_with_those_it_has(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    said = "The catalogue has no pool 'defualt', but default"
    begun = [
        run_foremesh(name, "--pool", "defualt", "--listen", "127.0.0.1:0")
        for name in ("provision", "gateway")
    ]
    eventually(lambda: all(said in process.output for process in begun))


def test_a_command_that_nobody_here_allowed_is_not_started(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a"), constituent("b", "--child")))
    Door(run_foremesh, FOREMESH_PROVISION_ALLOW_COMMAND=f"{{python}} -S -I {SERVICE}\nnone *")
    send(settings, [command("a"), command("b")])

    eventually(lambda: in_state(settings, InstanceState.WARM))
    [gone] = eventually(lambda: in_state(settings, InstanceState.GONE))
    assert gone.service == "b"
    assert "its command is not allowed here" in gone.reason


def test_what_was_loaded_from_the_same_directory_may_be_started(
    settings: Settings,
    topics: list[str],
    run_foremesh: RunForemesh,
    eventually: Eventually,
    tmp_path: Path,
) -> None:
    assert topics
    file = tmp_path / "catalog.yaml"
    file.write_text(dump(catalog_of(constituent("a"))))
    run_foremesh("catalog", "load", str(file)).finish()
    send(settings, [constituent("b", "--child")])
    Door(run_foremesh, FOREMESH_PROVISION_ALLOW_COMMAND="")
    send(settings, [command("a"), command("b")])

    [warm] = eventually(lambda: in_state(settings, InstanceState.WARM))
    [gone] = eventually(lambda: in_state(settings, InstanceState.GONE))
    assert (warm.service, gone.service) == ("a", "b")
    listed = run_foremesh("provision", "--allow-command", str(file), "--allow-command", "x 'y")
    assert listed.wait() == 1
    assert "--allow-command cannot be read" in listed.output


def test_instances_are_told_no_setting_and_no_secret(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    hidden = {"FOREMESH_KAFKA_PASSWORD": "secret", "DATABASE_URL": "secret"}
    door = Door(run_foremesh, **hidden, SHOWN="yes", FOREMESH_PROVISION_PASS_ENV="SHOWN")
    send(settings, [command("a")])
    eventually(lambda: in_state(settings, InstanceState.WARM))

    [pid] = family(door.provisioner.pid)
    found = psutil.Process(pid).environ()
    assert "secret" not in found.values()
    assert found["SHOWN"] == "yes"
    assert {"PATH", "PORT"} <= found.keys()


def test_a_dry_run_says_what_would_have_been(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    running = run_foremesh("provision", "--dry-run")
    send(settings, [command("a")])

    eventually(lambda: last(settings), 40.0)
    assert family(running.pid) == set()


async def test_while_kafka_is_away_requests_are_served_and_what_is_lost_is_counted(
    settings: Settings, run_foremesh: RunForemesh, tmp_path: Path
) -> None:
    kafka = KafkaServer(tmp_path / "kafka", CHECKOUT / "build")
    kafka.launch(tied=True)
    kafka.wait()
    try:
        own = {"FOREMESH_KAFKA": kafka.address, "FOREMESH_DELIVERY_MS": "2000"}
        here = Settings.from_env({**settings.to_env(), **own})
        create_topics(here)
        send(here, catalog_of(constituent("a"), constituent("b")))
        door = Door(run_foremesh, **own)
        async with aiohttp.ClientSession() as session:
            async with asyncio.timeout(20):
                while (await door.ask(session, "only-a")).headers["x-foremesh"] != "hit":
                    pass  # the gateway hears of the instance from Kafka
            kafka.stop()
            hit = await door.ask(session, "only-a")
            miss = await door.ask(session, "only-b")
            assert (hit.status, hit.headers["x-foremesh"]) == (200, "hit")
            assert (miss.status, miss.headers["x-foremesh"]) == (200, "miss")
        door.gateway.process.terminate()
        assert door.gateway.wait(30) == 0
        assert "4 events were lost" in door.gateway.output
    finally:
        kafka.stop()
