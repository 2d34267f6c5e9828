"""The flow under the rights that `foremesh acl print` prints, each component as a user of its own."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but in no __all__
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from harness import CHECKOUT, RunForemesh, Running, eventually
from meshed import Mesh
from secured import secured_kafka
from services import Door, catalog_of, constituent

from streams.adapters.kafka.rights import KafkaRight, rights_of
from streams.adapters.kafka.topics import declared
from streams.broker.offsets import end_offsets
from streams.catalog.yaml_writer import dump
from streams.devstack import LocalStack, tools
from streams.devstack.kafka import KafkaServer
from streams.flow.components import COMPONENTS, READER_GROUP
from streams.flow.topology import TOPICS, TOPOLOGY
from streams.runtime.ports import free_ports
from streams.runtime.token_file import dashboard_token_of
from streams.settings import Settings

LOG = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.rights.name = kafka.authorizer.logger
logger.rights.level = debug
"""
PROPERTIES = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",  # the plain listener: the broker itself, and this test
}
JUDGED = re.compile(
    r"Principal = User:foremesh-(\S+) is (Allowed|Denied) operation = (\w+) from host = \S+ on"
    r" resource = (\w+):LITERAL:(\S+) "
)


class Judged(NamedTuple):
    """What the broker's authorizer said to a request."""

    component: str
    allowed: bool
    operation: str
    resource: str
    name: str


class GuardedKafka:
    """A Kafka with ACLs, and what it allowed and denied."""

    def __init__(self, server: KafkaServer, settings: Settings) -> None:
        self.server, self.settings = server, settings
        self.admin = AdminClient({"bootstrap.servers": server.address})

    def grant(self, printed: str) -> None:
        """Give the rights that `foremesh acl print --output json` printed."""
        for future in self.admin.create_acls(
            [binding(one) for one in json.loads(printed)]
        ).values():
            future.result(30)

    def withdraw(self, one: dict[str, str]) -> None:
        """Take one of them back."""
        given = binding(one)
        filter_ = AclBindingFilter(
            given.restype, given.name, given.resource_pattern_type, given.principal, given.host,
            given.operation, given.permission_type,
        )  # fmt: skip
        for future in self.admin.delete_acls([filter_]).values():
            assert future.result(30)

    def granted(self, principal: str) -> set[tuple[str, str, bool]]:
        """The rights of somebody: on what, to what, and whether on all that begins so."""
        anything: Any = None
        every = AclBindingFilter(
            ResourceType.ANY, anything, ResourcePatternType.ANY, principal, anything,
            AclOperation.ANY, AclPermissionType.ANY,
        )  # fmt: skip
        return {
            (
                one.name,
                one.operation.name.replace("_", "").lower(),
                one.resource_pattern_type is ResourcePatternType.PREFIXED,
            )
            for one in self.admin.describe_acls(every).result(30)
        }

    def judged(self) -> set[Judged]:
        """All that was asked for by a component so far."""
        return {
            Judged(who, said == "Allowed", operation, resource, name)
            for who, said, operation, resource, name in JUDGED.findall(
                self.server.child.log.read_text(errors="replace")
            )
        }

    def ends(self, topic: str) -> int:
        """How many records a topic has had."""
        return sum(end_offsets(self.admin, [topic]).values())

    def denied(self) -> list[Judged]:
        return sorted(one for one in self.judged() if not one.allowed)


def binding(one: dict[str, str]) -> AclBinding:
    kind = {"transactional-id": "TRANSACTIONAL_ID"}.get(
        one["resource_type"], one["resource_type"].upper()
    )
    operation = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", one["operation"]).upper()
    return AclBinding(
        ResourceType[kind],
        one["resource_name"],
        ResourcePatternType[one["pattern_type"].upper()],
        one["principal"],
        "*",
        AclOperation[operation],
        AclPermissionType.ALLOW,
    )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedKafka]:
    """A Kafka with a user for each component, none of whom has a right."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "log4j2.properties").write_text(LOG)
    java = [f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}"]
    users = [f"foremesh-{name}" for name in COMPONENTS]
    with secured_kafka(folder, users, PROPERTIES, java) as (server, settings):
        yield GuardedKafka(server, settings)


@pytest.fixture
def settings(guarded: GuardedKafka, stack: LocalStack, template: str) -> Iterator[Settings]:
    yield replace(guarded.settings, postgres=stack.postgres.create("rights", template))
    stack.postgres.drop("rights")


@pytest.fixture
def as_itself(settings: Settings, run_foremesh: RunForemesh) -> RunForemesh:
    """Runs a command as the user of its component."""

    def run(*args: str, **env: str) -> Running:
        own = replace(settings, kafka_username=f"foremesh-{component_of(args, env)}")
        return run_foremesh(*args, **(own.to_env() | env))

    return run


def component_of(args: tuple[str, ...], env: dict[str, str]) -> str:
    match args:
        case ("worker",):
            return "event-time" if env.get("FOREMESH_CLOCK") == "event" else "worker"
        case ("worker", stage):
            return stage
        case ("mesh" | "dead-letters", part, *_):
            return f"{args[0]}-{part}"
        case ("produce", *_) if "--wait" in args:
            return "produce-wait"
    return args[0]


class Flow:
    """All components, brought to do all that they do."""

    def __init__(self, guarded: GuardedKafka, settings: Settings, run: RunForemesh) -> None:
        self.guarded, self.settings, self.run = guarded, settings, run
        self.plain = Producer({"bootstrap.servers": guarded.server.address})

    def rows(self, table: str) -> int:
        with psycopg.connect(self.settings.postgres) as connection:
            [count] = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() or (
                0,
            )
            return int(count)

    def set_up(self, folder: Path) -> None:
        """Topics, a catalogue, an operator's wishes, and a log with a row that is none."""
        self.run("topics", "create").finish()
        catalogue = folder / "catalogue.yaml"
        catalogue.write_text(dump(catalog_of(constituent("a"))))
        for _ in range(2):  # the second one finds something to read
            self.run("catalog", "load", str(catalogue)).finish()
        self.run("doctor").wait()
        self.run("control", "mode", "default", "on").finish()
        self.run("control", "challenge", "default", "bold", "--price", "0.5").finish()
        self.run("produce", str(self.log(folder, 1)), *COLUMNS).finish()
        self.look_on()

    def look_on(self) -> None:
        """The dashboard, until it has made its checks, and a change there."""
        (port,) = free_ports(1)
        at = f"http://127.0.0.1:{port}"
        dashboard = self.run("dashboard", "--listen", f"127.0.0.1:{port}")
        eventually(lambda: dashboard.process.poll() is None and checked(at), 60)
        asyncio.run(change(at, dashboard_token_of(self.settings)))
        self.end([dashboard])

    def log(self, folder: Path, day: int) -> Path:
        """A log of half an hour, with a row that is no request."""
        path = folder / f"log-{day}.csv"
        rows = [f"ann,only-a,2026-01-0{day}T00:{n:02}:00Z" for n in range(30)]
        path.write_text("\n".join(["user,service,ts", *rows, ",,", ""]))
        return path

    def spoil(self) -> None:
        """A record that nobody can read on every topic."""
        for topic in TOPICS:
            self.plain.produce(topic, b"noise", b"somebody")
        assert self.plain.flush(20) == 0

    def serve_by_envoy(self) -> None:
        """Requests through Envoy."""
        mesh = Mesh(self.run)
        running = mesh.start("control", "decide", "activate", "log", "compose")
        before = self.guarded.ends("outcomes")
        asyncio.run(ask(mesh.places.edge))
        eventually(lambda: self.guarded.ends("outcomes") > before, 60)
        self.end([mesh.envoy, *running.values()] if mesh.envoy else [])

    def serve_by_gateway(self, *workers: tuple[str, ...]) -> None:
        """Requests through the gateway, until all that workers make has come to PostgreSQL."""
        door = Door(self.run)
        running = [self.run("worker", *stages) for stages in workers]
        before = self.guarded.ends("feedback")
        asyncio.run(ask(door.gateway_at))
        eventually(lambda: self.guarded.ends("feedback") > before, 60)
        eventually(self.filled, 60)
        self.end([*running, door.gateway, door.provisioner])

    def filled(self) -> bool:
        """Whether every table has rows."""
        empty = [table for table in TABLES if not self.rows(table)]
        assert not empty, f"no rows in {empty}"
        return True

    def end(self, running: list[Running]) -> None:
        for one in running:
            assert one.stop(30) == 0, one.output


COLUMNS = ("--user", "user", "--item", "service", "--time", "ts")
TABLES = (
    "predictions",
    "commands",
    "verdicts",
    "trials",
    "controls",
    "instances",
    "outcomes",
    "dead_letters",
)
GROUPED = {Settings().topic(t) for topics in TOPOLOGY.groups.values() for t in topics}
APART = ("profiler", "aggregator", "allocator", "interceptor", "feedback")

# Rights that are there for what this flow need not bring about. Workers of several stages send by
# the same code as those of one, for which each right to write is seen to be used.
UNUSED = {
    ("interceptor", "dead-letters", "Write"),  # others report what it cannot read
    ("interceptor", "cold-starts", "Write"),  # a log that finds nothing warm
    ("interceptor", "interceptor-state", "Write"),  # it keeps nothing yet but its position
    ("feedback", "feedback-state", "Write"),  # nor does this one
    # Where a group is behind by little, whether what is left are records at all.
    *(
        (name, topic, right)
        for name in ("produce-wait", "doctor", "dashboard")
        for topic, right in ((READER_GROUP, "Describe"), *((t, "Read") for t in GROUPED))
    ),
    *(
        (name, topic, "Write")
        for name in ("worker", "event-time")
        for topic in declared(Settings())
    ),
}


async def ask(at: str) -> None:
    async with aiohttp.ClientSession() as session:
        for number in range(6):
            url, headers = f"http://{at}/only-a", {"x-foremesh-user": f"u{number % 2}"}
            async with session.post(url, json={}, headers=headers) as answer:
                assert answer.status == 200, await answer.text()


def checked(at: str) -> bool:
    """Whether a dashboard has asked every part."""
    try:
        with urllib.request.urlopen(f"{at}/section/health", timeout=10) as answer:
            return "Every part" in answer.read().decode()
    except OSError:
        return False


async def change(at: str, token: str) -> None:
    """Resume the pool on a dashboard."""
    asked = {"pool": "default", "change": "resume", "by": "ann", "reason": "a test"}
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{at}/change", json=asked, headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()


def used(right: KafkaRight, of: set[Judged]) -> bool:
    """Whether one of these needed it."""
    resource = right.resource.replace("-", "")
    return any(
        one.operation.replace("_", "").lower() == right.operation.lower()
        and one.resource.lower() == resource
        and (one.name.startswith(right.name) if right.prefixed else one.name == right.name)
        for one in of
    )


def unused(guarded: GuardedKafka) -> Iterator[tuple[str, str, str]]:
    of: defaultdict[str, set[Judged]] = defaultdict(set)
    for one in guarded.judged():
        of[one.component].add(one)
    for name, component in COMPONENTS.items():
        for right in rights_of(component, guarded.settings):
            if not used(right, of[name]):
                yield name, right.name, right.operation


@pytest.mark.timeout(900)
def test_the_flow_needs_the_printed_rights_and_no_other(
    guarded: GuardedKafka, settings: Settings, as_itself: RunForemesh, tmp_path: Path
) -> None:
    guarded.grant(as_itself("acl", "print", "--output", "json").finish())
    flow = Flow(guarded, settings, as_itself)
    flow.set_up(tmp_path)
    flow.spoil()
    flow.serve_by_envoy()
    sink = as_itself("sink")
    flow.serve_by_gateway(*((name,) for name in APART))
    as_itself("control", "trial").finish()  # only now is there a trial to read
    running = [sink, as_itself("worker"), as_itself("worker", "provisioner")]
    running.append(as_itself("keda", "--listen", f"127.0.0.1:{free_ports(1)[0]}"))
    flow.spoil()
    as_itself("produce", str(flow.log(tmp_path, 2)), *COLUMNS, "--wait").finish(120)
    flow.end(running)
    as_itself("dead-letters", "list").finish()
    as_itself("dead-letters", "replay").finish()
    as_itself("produce", str(flow.log(tmp_path, 3)), *COLUMNS).finish()
    alone = as_itself("worker", FOREMESH_CLOCK="event")
    eventually(lambda: "log-3.csv, complete" in alone.output, 120)
    flow.end([alone])
    as_itself("forget", "ann", "--yes").finish()
    as_itself("reset", "default", "--yes").finish()

    assert guarded.denied() == []
    assert [one for one in unused(guarded) if one not in UNUSED] == []


WITHOUT = {  # component -> right that it lacks, and a command that needs it
    "control": (("control", "Write"), ("control", "pause", "default")),
    "profiler": (("requests", "Read"), ("worker", "profiler")),
    "sink": (("foremesh-sink", "Read"), ("sink",)),
    "gateway": (("catalog", "Read"), ("gateway", "--listen", "127.0.0.1:0")),
    "feedback": (("foremesh-feedback-", "Write"), ("worker", "feedback")),
    "reset": (("predictions", "Delete"), ("reset", "default", "--yes")),
}


@pytest.mark.parametrize("component", WITHOUT)
def test_a_component_with_a_right_too_few_says_so_and_ends(
    component: str, guarded: GuardedKafka, as_itself: RunForemesh
) -> None:
    (name, operation), words = WITHOUT[component]
    guarded.grant(as_itself("acl", "print", "topics", "--output", "json").finish())
    as_itself("topics", "create").finish()
    printed = as_itself("acl", "print", component, "--output", "json").finish()
    guarded.grant(printed)
    [lacking] = [
        one for one in json.loads(printed)
        if (one["resource_name"], one["operation"]) == (name, operation)
    ]  # fmt: skip
    guarded.withdraw(lacking)

    ended = as_itself(*words)

    assert ended.wait(60) == 1, ended.output
    assert "foremesh acl print" in ended.output
    assert "Traceback" not in ended.output or "worker" in words  # Faust's, behind the sentence


def test_the_printed_commands_are_those_of_kafka(
    guarded: GuardedKafka, as_itself: RunForemesh
) -> None:
    options = ("--principal", "doctor=User:ann", "--principal", "feedback=User:ann")
    printed = as_itself("acl", "print", "doctor", "feedback", *options).finish()
    java = [tools.java().path, "-cp", f"{tools.kafka_jars(CHECKOUT / 'build')}/*"]
    for line in printed.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["kafka-acls"]:
            at = words.index("--bootstrap-server")
            words[at + 1] = guarded.server.address
            call = [*java, "org.apache.kafka.tools.AclCommand", *words[1:]]
            subprocess.run(call, check=True, capture_output=True, timeout=60)
    wanted = {
        (right.name, right.operation.lower(), right.prefixed)
        for name in ("doctor", "feedback")
        for right in rights_of(COMPONENTS[name], guarded.settings)
    }

    assert guarded.granted("User:ann") == wanted
