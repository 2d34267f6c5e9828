"""The provisioner's end of the zygote protocol: asks a zygote to fork, and adopts the forks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Self

from streams.provisioners.local.adopted_process import SUBREAPER, AdoptedProcess
from streams.provisioners.local.cgroups import UNLIMITED, InstanceCgroup
from streams.provisioners.local.child_process import (
    InstanceProcess,
    ProcessNotReady,
    SupervisedProcess,
    argv_of,
    spawned,
)
from streams.runtime.ports import free_port

__all__ = ["ZygoteProcess"]

_ANSWER_BYTES = 64 * 1024  # most of one answer
_ENDING_S = 1.0  # after the end of its socket, for the process to end
_PAUSE_S = 0.01


class ZygoteProcess(SupervisedProcess):
    """A base: a process that forks instances on request; `zygote` documents the protocol."""

    def __init__(
        self, process: asyncio.subprocess.Process, errors: int, connection: socket.socket
    ) -> None:
        super().__init__(process, errors)
        self._socket = connection
        self._turn = asyncio.Lock()  # one request at a time
        self._background: set[asyncio.Task[Any]] = set()  # forks in progress
        self._broken = False  # it did not answer in time, or broke the protocol

    @classmethod
    async def spawn(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        cgroup: InstanceCgroup = UNLIMITED,
    ) -> Self:
        """Start a zygote by its command line, with the environment of its forks, in a cgroup.

        Raises
        ------
        ProcessNotReady
            The command cannot be executed.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            try:
                process, errors = await spawned(
                    command, 0, cgroup, environment, stdin=theirs.fileno()
                )
            except BaseException:
                ours.close()
                raise
        return cls(process, errors, ours)

    @property
    def can_fork(self) -> bool:
        """Whether it still forks: it runs, and has kept to the protocol."""
        return self.alive and not self._broken

    async def ready(self, timeout_s: float) -> None:
        """Wait until it has imported its modules.

        Raises
        ------
        ProcessNotReady
            It ended, or did not report readiness in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._receive()
        except TimeoutError:
            raise ProcessNotReady(
                f"did not report that it is ready within {round(timeout_s, 1):g} s"
            ) from None
        if answer.get("ready") is not True:
            raise ProcessNotReady(f"sent {json.dumps(answer)} instead of its readiness")

    async def fork(
        self, command: Sequence[str], timeout_s: float, cgroup: InstanceCgroup = UNLIMITED
    ) -> InstanceProcess:
        """Have it fork an instance that runs a command line, in a cgroup.

        Raises
        ------
        ProcessNotReady
            It failed, ended, or did not answer in time; after the latter it `can_fork` no more.
        """
        fork = self._in_background(self._fork(command, cgroup))
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(fork)
        except TimeoutError:
            self._broken = True
            self._in_background(_end_when_forked(fork))
            raise ProcessNotReady(f"was not forked within {timeout_s:g} s") from None
        except asyncio.CancelledError:
            self._in_background(_end_when_forked(fork))
            raise

    async def wait(self) -> str:
        """Wait for its end, and for abandoned forks to be ended; returns how it ended."""
        how = await super().wait()
        while self._background:  # each gets its answer or reads the end of the socket
            await asyncio.gather(*self._background, return_exceptions=True)
        self._socket.close()
        await self._reap_orphans()
        return how

    async def _reap_orphans(self) -> None:
        """Reap processes that it left in the middle of a fork; they were killed with its group."""
        with contextlib.suppress(ChildProcessError):
            while True:
                if os.waitpid(-self.pid, os.WNOHANG) == (0, 0):  # noqa: ASYNC222 - WNOHANG does not block
                    await asyncio.sleep(_PAUSE_S)

    def _in_background(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _fork(self, command: Sequence[str], cgroup: InstanceCgroup) -> InstanceProcess:
        port = free_port()
        request = json.dumps({"argv": argv_of(command, port), "port": port}).encode()
        reading, writing = os.pipe()
        try:
            async with self._turn:
                with SUBREAPER.adopting():
                    answer = await self._ask(request, writing, cgroup)
            return InstanceProcess(_adopted(answer), port, reading)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)

    async def _ask(self, request: bytes, errors: int, cgroup: InstanceCgroup) -> dict[str, Any]:
        try:
            with cgroup.open_procs() as files:
                socket.send_fds(self._socket, [request], [errors, *files])
        except OSError as error:
            raise ProcessNotReady(f"cannot send to its base: {error.strerror}") from error
        return await self._receive()

    async def _receive(self) -> dict[str, Any]:
        """Receive one answer; after one that breaks the protocol none is asked for again."""
        packet = b""
        with contextlib.suppress(ConnectionError):  # it ended before it read the request
            packet = await asyncio.get_running_loop().sock_recv(self._socket, _ANSWER_BYTES)
        with contextlib.suppress(ValueError):
            answer = json.loads(packet)
            if isinstance(answer, dict):
                return answer
        self._broken = True
        with contextlib.suppress(TimeoutError):  # its exit code is reported if it ends now
            async with asyncio.timeout(_ENDING_S):
                await self._process.wait()
        raise ProcessNotReady(f"sent {packet[:200]!r}" if packet else "its base ended")


def _adopted(answer: dict[str, Any]) -> AdoptedProcess:
    """The process that an answer names."""
    if "error" in answer:
        raise ProcessNotReady(f"its base could not fork it: {answer['error']}")
    try:
        return AdoptedProcess(int(answer["pid"]))
    except (KeyError, TypeError, ValueError, OSError) as error:
        why = f"its base answered {json.dumps(answer)}, which names no child of the provisioner"
        raise ProcessNotReady(why) from error


async def _end_when_forked(fork: asyncio.Task[InstanceProcess]) -> None:
    """End an instance that nobody waits for any more, once it is forked."""
    with contextlib.suppress(ProcessNotReady):
        child = await fork
        child.kill()
        await child.wait()
