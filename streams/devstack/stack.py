"""Kafka and PostgreSQL together."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from streams.devstack import tools
from streams.devstack.child import ServerProcess
from streams.devstack.kafka import KafkaServer
from streams.devstack.postgres import PostgresServer

__all__ = ["LocalStack", "env_of"]

START_S = 300.0


class LocalStack:
    """A Kafka and a PostgreSQL server on free ports; a context manager.

    Parameters
    ----------
    build
        Directory of Kafka's jars, which are fetched when missing.
    folder
        Where the servers keep their data, logs and pids; `build`/stack by default.
    tied
        Whether the servers end with the thread that started them, even if that is killed.
    """

    def __init__(self, build: Path, folder: Path | None = None, *, tied: bool = True) -> None:
        self._folder = folder or build / "stack"
        self._tied = tied
        self.kafka = KafkaServer(self._folder / "kafka", build)
        self.postgres = PostgresServer(self._folder / "postgres")

    def start(self) -> Self:
        """Start the servers that are not running; returns once both accept requests.

        Raises
        ------
        ToolMissing, StackFailed
            Why it did not start; both servers are stopped then.
        """
        with tools.locked(self._folder / "lock", START_S):
            try:
                self.postgres.launch(tied=self._tied)
                self.kafka.launch(tied=self._tied)
                self.postgres.wait()
                self.kafka.wait()
            except BaseException:
                self._stop()
                raise
            self._write_env()
        return self

    def stop(self) -> list[str]:
        """Stop both and keep their data; returns once their processes are gone.

        Returns
        -------
        list of str
            Names of the servers that were running.
        """
        with tools.locked(self._folder / "lock", START_S):
            return self._stop()

    @property
    def children(self) -> tuple[ServerProcess, ServerProcess]:
        """The processes of Kafka and of PostgreSQL."""
        return self.kafka.child, self.postgres.child

    def env(self) -> dict[str, str]:
        """The environment variables that point foremesh at this stack.

        With one token for it, processes may be started in different directories.
        """
        return {
            "FOREMESH_KAFKA": self.kafka.address,
            "FOREMESH_POSTGRES": self.postgres.url(),
            "FOREMESH_TOKEN_FILE": str(self._folder.absolute() / "token"),
        }

    def _stop(self) -> list[str]:
        servers = (self.kafka, self.postgres)
        stopped = [server.child.name for server in servers if server.stop()]
        (self._folder / "env").unlink(missing_ok=True)
        return stopped

    def _write_env(self) -> None:
        lines = "".join(f"{name}={value}\n" for name, value in self.env().items())
        path = self._folder / "env"
        path.touch(mode=0o600)  # it holds the password
        path.write_text(lines)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def env_of(build: str | os.PathLike[str]) -> dict[str, str]:
    """The variables of the stack that `foremesh up` started in `build`; empty without one."""
    path = Path(build) / "stack" / "env"
    if not path.exists():
        return {}
    return dict(line.split("=", 1) for line in path.read_text().splitlines())
