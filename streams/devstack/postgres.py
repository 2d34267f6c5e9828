"""PostgreSQL from its wheel as a child process.

The wheel's own launcher is not used: as root it adds a system user and makes the directories above
its data readable by everybody.
"""

from __future__ import annotations

import os
import pwd
import secrets
import signal
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from streams.devstack import tools
from streams.devstack.child import ServerProcess, run, until
from streams.errors import StackFailed
from streams.runtime.ports import free_ports, kept_port

__all__ = ["PostgresServer"]

START_S = 120.0  # 1 s on an idle machine
STOP_S = 10.0
TRIES = 3  # a port that was free may be taken before the server binds it
OWNER = "foremesh"
UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root; this user exists on every Unix

OPTIONS: Mapping[str, object] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "fsync": "off",  # a stack for development need not survive a power failure
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


class PostgresServer:
    """A server that keeps its data, log and pid below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self.child = ServerProcess("PostgreSQL", self._folder)
        self._tied = False

    def url(self, database: str = OWNER) -> str:
        """The URL of one of its databases, including the password."""
        password = (self._folder / "password").read_text()
        port = (self._folder / "port").read_text()
        return f"postgresql://{OWNER}:{password}@127.0.0.1:{port}/{database}"

    def launch(self, *, tied: bool) -> None:
        """Start it, unless it is running; `tied`: it ends with the calling thread."""
        if self.child.pid:
            return
        self._tied = tied
        programs = tools.postgres_programs()
        if not (self._folder / "data" / "PG_VERSION").exists():
            self._initialise(programs)
        (other,) = free_ports(1)
        port = kept_port(self._folder / "port") or other
        (self._folder / "port").write_text(str(port))
        argv = [str(programs / "postgres"), "-D", str(self._folder / "data"), "-p", str(port)]
        for key, value in OPTIONS.items():
            argv += ["-c", f"{key}={value}"]
        # SIGINT is the fast shutdown, which frees shared memory; SIGKILL would not.
        death_signal = signal.SIGINT if tied else 0
        self.child.start(argv, env=_env(), death_signal=death_signal, user=UNPRIVILEGED)

    def wait(self) -> None:
        """Wait until it accepts connections, then create the database `foremesh`."""
        for left in reversed(range(TRIES)):
            try:
                until(self._answers, self.child, START_S)
            except StackFailed:
                if not left or "Address already in use" not in self.child.log_end():
                    raise
                self.launch(tied=self._tied)
            else:
                break
        self.create(OWNER)

    def create(self, database: str, template: str = "template1") -> str:
        """Create a database unless it exists; returns its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            names = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
            if names.fetchone() is None:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                        sql.Identifier(database), sql.Identifier(template)
                    )
                )
        return self.url(database)

    def drop(self, database: str) -> None:
        """Drop a database even while clients are connected to it."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
            )

    def stop(self) -> bool:
        """Stop it; returns, once it is gone, whether it was running."""
        return self.child.stop(signal.SIGINT, STOP_S)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _initialise(self, programs: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        password = self._folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(16))
        data = self._folder / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            owner = pwd.getpwnam(UNPRIVILEGED)
            os.chown(data, owner.pw_uid, owner.pw_gid)
        argv = [str(programs / "initdb"), "-D", str(data), "-U", OWNER, "--no-sync"]
        argv += ["--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--no-locale"]
        run(argv, "initialising PostgreSQL", START_S, env=_env(), user=UNPRIVILEGED)


def _env() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
