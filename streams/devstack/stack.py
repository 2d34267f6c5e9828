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
    """A Kafka and a PostgreSQL on ports of their own; a context manager.

    Parameters
    ----------
    build
        Folder of Kafka's jars, fetched when they are not there.
    folder
        Where the servers keep their data, logs and pids; `build`/stack by default.
    tied
        Whether the servers end when the thread that started them does, however it ends.
    """

    def __init__(self, build: Path, folder: Path | None = None, *, tied: bool = True) -> None:
        self._folder = folder or build / "stack"
        self._tied = tied
        self.kafka = KafkaServer(self._folder / "kafka", build)
        self.postgres = PostgresServer(self._folder / "postgres")

    def start(self) -> Self:
        """Start what does not run; returns when both serve.

        Raises
        ------
        ToolMissing, StackFailed
            It did not start, and why; what had started is stopped.
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

    def stop(self) -> None:
        """Stop both; returns when their processes are gone. Their data stay."""
        with tools.locked(self._folder / "lock", START_S):
            self._stop()

    @property
    def children(self) -> tuple[ServerProcess, ServerProcess]:
        """The processes: Kafka's, PostgreSQL's."""
        return self.kafka.child, self.postgres.child

    def env(self) -> dict[str, str]:
        """The variables that point foremesh at this stack."""
        return {"FOREMESH_KAFKA": self.kafka.address, "FOREMESH_POSTGRES": self.postgres.url()}

    def _stop(self) -> None:
        self.kafka.stop()
        self.postgres.stop()
        (self._folder / "env").unlink(missing_ok=True)

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
    """The variables of the stack that `foremesh up` started in `build`; empty when there is none."""
    path = Path(build) / "stack" / "env"
    if not path.exists():
        return {}
    return dict(line.split("=", 1) for line in path.read_text().splitlines())
