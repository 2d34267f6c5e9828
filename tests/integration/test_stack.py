from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from harness import CHECKOUT, Eventually, Running

from streams.devstack import LocalStack, env_of, spawn, tools
from streams.devstack.child import ServerProcess
from streams.devstack.kafka import KafkaServer
from streams.devstack.postgres import UNPRIVILEGED, PostgresServer
from streams.errors import StackFailed
from streams.runtime.ports import free_ports

TIED = """
import pathlib, sys, time
from streams.devstack import LocalStack
with LocalStack(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])):
    print("ready", flush=True)
    time.sleep(120)
"""

# Starts a server that outlives this script, as `foremesh up` does.
SLEEPING = """
import pathlib, signal, sys
from streams.devstack.child import ServerProcess
signal.signal(signal.SIGINT, signal.SIG_DFL)  # else ignored where the tests run in the background
ServerProcess("sleeping", pathlib.Path(sys.argv[1])).start(["/bin/sleep", "60"], env={})
"""

# Drops a capability for good, as containers do, then executes the rest of the command line.
WITHOUT = """
import ctypes, os, sys
PR_CAPBSET_DROP = 24
ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, int(sys.argv[1]), 0, 0, 0)
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build folder of its own, with the jars that `stack` has fetched."""
    folder = tmp_path / "build"
    folder.mkdir()
    (folder / "kafka").symlink_to(CHECKOUT / "build" / "kafka")
    return folder


def processes_below(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in argument for argument in process.info["cmdline"] or [])
    ]


def foremesh(build: Path, *args: str) -> Running:
    return Running(args, {"FOREMESH_BUILD": str(build)}, build / f"{args[0]}.log")


@pytest.mark.usefixtures("stack")
def test_a_broker_that_is_new_can_be_asked_for_its_groups_at_once(build: Path) -> None:
    try:
        foremesh(build, "up").finish(120)
        doctor = Running(("doctor",), env_of(build), build / "doctor.log")
        doctor.wait(60)
        assert "lag of profiler" in doctor.output
    finally:
        foremesh(build, "down").finish(60)


@pytest.mark.usefixtures("stack")
def test_a_broker_that_ends_leaves_its_classes_to_those_that_start_later(tmp_path: Path) -> None:
    jars = tmp_path / "build" / "kafka"
    jars.mkdir(parents=True)
    for path in (CHECKOUT / "build" / "kafka").iterdir():
        if not path.name.startswith("classes-"):
            shutil.copy(path, jars)
    server = KafkaServer(tmp_path / "broker", tmp_path / "build")

    with_archive = []
    for _ in range(2):
        server.launch(tied=True)
        server.wait()
        maps = Path(f"/proc/{server.child.pid}/maps").read_text()
        with_archive.append(str(jars / "classes-") in maps)
        server.stop()

    assert with_archive == [False, True]
    assert len(list(jars.glob("classes-*"))) == 1
    assert "[cds" not in server.child.log.read_text()


@pytest.mark.usefixtures("stack")
def test_a_shell_takes_all_that_up_prints_as_variables(tmp_path: Path) -> None:
    build = tmp_path / "a build"
    build.mkdir()
    (build / "kafka").symlink_to(CHECKOUT / "build" / "kafka")
    line = f'set -e; eval "$({sys.executable} -m streams up)"; printf %s "$FOREMESH_TOKEN_FILE"'
    env = {**os.environ, "FOREMESH_BUILD": str(build)}
    try:
        done = subprocess.run(
            ["sh", "-c", line], capture_output=True, text=True, env=env, check=False
        )
        assert done.stdout == str(build / "stack" / "token")
        assert "`foremesh down` stops it." in done.stderr
        assert processes_below(build)
    finally:
        foremesh(build, "down").finish(60)


@pytest.mark.usefixtures("stack")
def test_up_is_idempotent_and_down_leaves_no_process(build: Path) -> None:
    try:
        assert "export FOREMESH_KAFKA=127.0.0.1:" in foremesh(build, "up").finish(120)
        env = env_of(build)
        pids = {process.pid for process in processes_below(build)}

        foremesh(build, "up").finish(120)
        assert env_of(build) == env
        assert {process.pid for process in processes_below(build)} == pids
        assert env["FOREMESH_KAFKA"] in foremesh(build, "status").finish()
        client = AdminClient({"bootstrap.servers": env["FOREMESH_KAFKA"]})
        assert "requests" in client.list_topics(timeout=10).topics
        psycopg.connect(env["FOREMESH_POSTGRES"]).close()
    finally:
        foremesh(build, "down").finish()
    assert processes_below(build) == []
    assert env_of(build) == {}
    assert foremesh(build, "status").wait() == 1


@pytest.mark.parametrize(
    ("running", "sentence"),
    [
        (["kafka", "postgres"], "Stopped Kafka and PostgreSQL; their data stay in {}."),
        (["postgres"], "Stopped PostgreSQL; its data stay in {}."),
        ([], "Nothing of the stack in {} was running."),
    ],
)
def test_down_says_what_it_stopped(build: Path, running: list[str], sentence: str) -> None:
    for server in running:
        folder = build / "stack" / server
        folder.mkdir(parents=True)
        subprocess.run([sys.executable, "-c", SLEEPING, str(folder)], check=True)

    said = foremesh(build, "down").finish()

    assert said.splitlines()[0] == sentence.format(build / "stack")
    assert processes_below(build) == []


def test_a_stack_that_was_started_elsewhere_is_named_with_what_stops_it(
    build: Path, tmp_path: Path
) -> None:
    folder = build / "stack" / "kafka"
    folder.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", SLEEPING, str(folder)], check=True)
    try:
        other = tmp_path / "other"
        other.mkdir()
        for command in ("status", "down"):
            running = foremesh(other, command)
            running.wait()
            assert f"FOREMESH_BUILD={build} foremesh {command}" in running.output
    finally:
        assert "Stopped Kafka" in foremesh(build, "down").finish()
    running = foremesh(other, "status")
    assert running.wait() == 1
    assert str(build) not in running.output


@pytest.mark.usefixtures("stack")
def test_data_and_addresses_outlive_down_and_up(build: Path) -> None:
    with LocalStack(build, tied=True) as first, psycopg.connect(first.postgres.url()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        before = first.env()

    with (
        LocalStack(build, tied=True) as second,
        psycopg.connect(second.postgres.url()) as connection,
    ):
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
        assert second.env() == before


@pytest.mark.usefixtures("stack")
def test_a_stack_ends_with_the_process_that_started_it(
    build: Path, tmp_path: Path, eventually: Eventually
) -> None:
    folder = tmp_path / "tied"
    owner = subprocess.Popen(
        [sys.executable, "-c", TIED, str(build), str(folder)], stdout=subprocess.PIPE
    )
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        owner.kill()

    eventually(lambda: processes_below(folder) == [])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory that only its owner may enter."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


def copied(programs: Path, folder: Path) -> Path:
    """The programs of PostgreSQL and their libraries, in the layout of their wheel."""
    wheel = programs.parents[1]
    for part in (programs.parent, wheel.with_name(f"{wheel.name}.libs")):
        shutil.copytree(part, folder / part.relative_to(wheel.parent), symlinks=True)
    return folder / programs.relative_to(wheel.parent)


def test_postgres_runs_below_a_directory_that_only_its_owner_may_enter(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = copied(tools.postgres_programs(), home)
    monkeypatch.setattr(tools, "postgres_programs", lambda: programs)
    postgres = PostgresServer(home / "postgres")
    try:
        postgres.launch(tied=True)
        postgres.wait()
        with psycopg.connect(postgres.url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        postgres.stop()
        shutil.rmtree(programs.parent)  # 38 MB


def as_nobody(code: str, *before: str) -> list[str]:
    """The words that Python code prints as the user that root becomes for PostgreSQL."""
    argv = [*before, sys.executable, spawn.__file__, str(os.getpid()), "0", UNPRIVILEGED]
    argv += [sys.executable, "-c", code]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("lacking", [None, spawn.CAP_DAC_READ_SEARCH])
def test_a_program_that_root_starts_as_nobody_finds_files_that_only_root_may_reach(
    home: Path, lacking: int | None
) -> None:
    wanted = home / "program"
    wanted.touch(mode=0o755)
    before = () if lacking is None else (sys.executable, "-c", WITHOUT, str(lacking))

    answer = as_nobody(f"import os; print(os.access({str(wanted)!r}, os.X_OK))", *before)

    assert answer == ["True"]


def test_a_program_that_root_starts_as_nobody_has_at_most_one_capability() -> None:
    said = as_nobody("print(open('/proc/self/status').read())")

    held = {name: int(said[said.index(name) + 1], 16) for name in ("CapPrm:", "CapEff:")}
    assert all(sets.bit_count() <= 1 for sets in held.values())
    assert int(said[said.index("Uid:") + 1]) != 0


def test_a_port_that_somebody_took_first_is_given_up(
    stack: LocalStack, build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = [int(stack.kafka.address.split(":")[1]), *free_ports(1)]
    for module, ports in (("kafka", taken), ("postgres", taken[:1])):
        choices = iter([ports, free_ports(len(ports))])
        monkeypatch.setattr(
            f"streams.devstack.{module}.free_ports", lambda _, choices=choices: next(choices)
        )

    with LocalStack(build) as other:
        assert other.kafka.address != stack.kafka.address
        assert not other.postgres.url().endswith(f":{taken[0]}/foremesh")


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    child = ServerProcess("A server", tmp_path)
    child.start(["/bin/sh", "-c", "echo the disk is full"], env={})
    assert child._popen is not None
    child._popen.wait(10)

    with pytest.raises(StackFailed, match="the disk is full"):
        child.alive_or_raise()


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path, eventually: Eventually) -> None:
    child = ServerProcess("A server", tmp_path)
    child.start(["/bin/sh", "-c", "trap '' TERM; echo deaf; sleep 60 & wait; wait"], env={})
    eventually(lambda: "deaf" in child.log_end())
    pid = child.pid
    assert pid is not None

    child.stop(signal.SIGTERM, 0.2)

    assert child.pid is None
    assert not psutil.pid_exists(pid)


def test_a_pid_of_another_process_is_left_alone(tmp_path: Path) -> None:
    child = ServerProcess("A server", tmp_path)
    (tmp_path / "pid").write_text(f"{os.getpid()} 1.0\n")

    assert child.pid is None
    child.stop(signal.SIGTERM, 0.2)


def test_servers_listen_on_loopback_only(stack: LocalStack) -> None:
    pids = [child.pid for child in stack.children]
    assert all(pids)
    for pid in pids:
        for connection in psutil.Process(pid).net_connections():
            if connection.status == psutil.CONN_LISTEN:
                assert connection.family in {socket.AF_INET, socket.AF_INET6}
                assert connection.laddr.ip.removeprefix("::ffff:") == "127.0.0.1"


def test_postgres_asks_for_its_password(stack: LocalStack) -> None:
    url = stack.postgres.url()
    password = psycopg.conninfo.conninfo_to_dict(url)["password"]

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace(str(password), "guessed"))
