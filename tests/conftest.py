from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis
import pytest
from harness import CHECKOUT, Eventually, RunForemesh, Running
from harness import eventually as ask_until
from live import Live

from streams.adapters.kafka.clients import connect
from streams.adapters.kafka.topics import create_topics, declared
from streams.adapters.postgres.maintenance import migrate
from streams.devstack import LocalStack
from streams.settings import Settings

BUILD = CHECKOUT / "build"
TEMPLATE = "template_foremesh"
MEMORY, MEMORY_BYTES = Path("/dev/shm"), 3 << 30  # of each worker

# A test's own folders stay below the checkout. Set here since plugins may ask before any hook runs.
(BUILD / "tmp").mkdir(parents=True, exist_ok=True)
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(BUILD / "tmp"))
os.environ.setdefault("MPLCONFIGDIR", str(BUILD / "tmp"))
# Workers beside each other have a Kafka each, for minutes: Java need not make it faster and faster.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=20)  # of `make unit`
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A real Kafka and a real PostgreSQL, for the whole session; no start, no tests."""
    with (
        TemporaryDirectory(prefix="foremesh-", dir=_place_of(tmp_path_factory)) as folder,
        LocalStack(BUILD, Path(folder)) as started,
    ):
        yield started


def _place_of(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Memory for servers of tests that run beside others, where there is some: each makes 80 logs."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0"))
    if workers and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= workers * MEMORY_BYTES:
        return MEMORY
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="session")
def template(stack: LocalStack) -> str:
    """A database with the schema, to copy."""
    migrate(stack.postgres.create(TEMPLATE))
    return TEMPLATE


@contextmanager
def corner(stack: LocalStack, template: str, folder: Path) -> Iterator[Settings]:
    """Settings of a corner of the stack that nobody else uses, with a database of its own."""
    name = f"t{uuid.uuid4().hex[:8]}"
    yield Settings(
        kafka=stack.kafka.address,
        postgres=stack.postgres.create(name, template),
        prefix=f"{name}-",
        build=str(folder / "build"),
    )
    stack.postgres.drop(name)


@pytest.fixture
def settings(stack: LocalStack, template: str, tmp_path: Path) -> Iterator[Settings]:
    """A corner for one test."""
    with corner(stack, template, tmp_path) as found:
        yield replace(found, partitions=4, commit_ms=100, session_ms=4_000)


@pytest.fixture(scope="module")
def module_settings(
    stack: LocalStack, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """A corner for the tests of a module together."""
    with corner(stack, template, tmp_path_factory.mktemp("corner")) as found:
        yield replace(found, partitions=2)


@pytest.fixture
def topics(settings: Settings) -> Iterator[list[str]]:
    """All topics, created; their names on the broker."""
    names = [topic.name for topic in create_topics(settings)]
    yield names
    client = connect(settings)
    for future in client.delete_topics(list(declared(settings))).values():
        future.result(10)


@pytest.fixture
def run_foremesh(settings: Settings, tmp_path: Path) -> Iterator[RunForemesh]:
    """The command line as a child process that ends with the test."""
    running: list[Running] = []

    def run(*args: str, **env: str) -> Running:
        output = tmp_path / f"{len(running)}-{args[0].strip('-')}.log"
        allowed = {"FOREMESH_PROVISION_ALLOW_COMMAND": "*"}  # tests put catalogues on the topic
        running.append(Running(args, {**settings.to_env(), **allowed, **env}, output))
        return running[-1]

    yield run
    for one in running:
        if one.process.poll() is None:
            one.kill()


@pytest.fixture
def eventually() -> Eventually:
    """Wait for a condition, with a deadline."""
    return ask_until


@pytest.fixture
def live(settings: Settings, topics: list[str], run_foremesh: RunForemesh) -> Live:
    """The flow on topics and a database of its own, to be started."""
    del topics
    return Live(settings, run_foremesh)
