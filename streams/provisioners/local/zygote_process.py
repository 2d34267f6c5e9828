"""The provisioner's end of a zygote: asks it to fork, and has what it forked for a child."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Self

from streams.provisioners.local.cgroups import UNLIMITED, InstanceCgroup
from streams.provisioners.local.child_process import (
    InstanceProcess,
    ProcessNotReady,
    SupervisedProcess,
    argv_of,
    free_port,
    spawned,
)

__all__ = ["ZygoteProcess"]

_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)
_MOST = 64 * 1024  # bytes of an answer
_ENDING_S = 1.0  # from closing its pipe to its end
_PAUSE_S = 0.01


class ZygoteProcess(SupervisedProcess):
    """A process that forks instances when asked; the protocol is told in `zygote`."""

    def __init__(
        self, process: asyncio.subprocess.Process, errors: int, pipe: socket.socket
    ) -> None:
        super().__init__(process, errors)
        self._pipe = pipe
        self._turn = asyncio.Lock()
        self._forks: set[asyncio.Task[Any]] = set()
        self._lost = False

    @classmethod
    async def spawn(cls, command: Sequence[str], cgroup: InstanceCgroup = UNLIMITED) -> Self:
        """Start a command line, in a cgroup.

        Raises
        ------
        NotReady
            It cannot be executed.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            try:
                process, errors = await spawned(command, 0, cgroup, stdin=theirs.fileno())
            except BaseException:
                ours.close()
                raise
        return cls(process, errors, ours)

    @property
    def lends(self) -> bool:
        """Whether it may fork still: it has not ended, and kept to the protocol."""
        return self.alive and not self._lost

    async def ready(self, timeout_s: float) -> None:
        """Wait until it has imported all.

        Raises
        ------
        NotReady
            It ended, or did not say so in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                said = await self._hear()
        except TimeoutError:
            raise ProcessNotReady(f"did not say that it is ready within {timeout_s:g} s") from None
        if said.get("ready") is not True:
            raise ProcessNotReady(f"said {json.dumps(said)}, not that it is ready")

    async def fork(
        self, command: Sequence[str], timeout_s: float, cgroup: InstanceCgroup = UNLIMITED
    ) -> InstanceProcess:
        """Have it fork what a command line runs, in a cgroup.

        Raises
        ------
        NotReady
            It cannot, or it ended, or did not answer in time: then it `lends` no more.
        """
        fork = self._keep(self._fork(command, cgroup))
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(fork)
        except TimeoutError:
            self._lost = True
            self._keep(_unwanted(fork))
            raise ProcessNotReady(f"was not forked within {timeout_s:g} s") from None
        except asyncio.CancelledError:
            self._keep(_unwanted(fork))
            raise

    async def wait(self) -> str:
        """Wait for its end, and for what it forked that nobody waits for any more."""
        how = await super().wait()
        while self._forks:  # each is answered, or reads the end of the pipe
            await asyncio.gather(*self._forks, return_exceptions=True)
        self._pipe.close()
        await self._bury()
        return how

    async def _bury(self) -> None:
        """Reap what it left in mid-fork, and we have adopted; it was killed with its group."""
        with contextlib.suppress(ChildProcessError):
            while True:
                if os.waitpid(-self.pid, os.WNOHANG) == (0, 0):  # noqa: ASYNC222 - it does not block
                    await asyncio.sleep(_PAUSE_S)

    def _keep(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._forks.add(task)
        task.add_done_callback(self._forks.discard)
        return task

    async def _fork(self, command: Sequence[str], cgroup: InstanceCgroup) -> InstanceProcess:
        port = free_port()
        order = json.dumps({"argv": argv_of(command, port), "port": port}).encode()
        reading, writing = os.pipe()
        try:
            async with self._turn:
                with _adopting():
                    said = await self._ask(order, writing, cgroup)
            return InstanceProcess(AdoptedProcess.of(said), port, reading)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)

    async def _ask(self, order: bytes, errors: int, cgroup: InstanceCgroup) -> dict[str, Any]:
        try:
            with cgroup.doors() as doors:
                socket.send_fds(self._pipe, [order], [errors, *doors])
        except OSError as error:
            raise ProcessNotReady(f"its base cannot be asked: {error.strerror}") from error
        return await self._hear()

    async def _hear(self) -> dict[str, Any]:
        """The next that it says; what is said against the protocol is the last."""
        said = b""
        with contextlib.suppress(ConnectionError):  # it ended before it read what was asked
            said = await asyncio.get_running_loop().sock_recv(self._pipe, _MOST)
        with contextlib.suppress(ValueError):
            told = json.loads(said)
            if isinstance(told, dict):
                return told
        self._lost = True
        with contextlib.suppress(TimeoutError):  # how it ended says more than that it did
            async with asyncio.timeout(_ENDING_S):
                await self._process.wait()
        raise ProcessNotReady(f"said {said[:200]!r}" if said else "its base ended")


class AdoptedProcess:
    """A process that another one forked for us, a child of ours since; satisfies `Handle`."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._descriptor = descriptor
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._reap)

    @classmethod
    def of(cls, said: dict[str, Any]) -> Self:
        """The process that an answer names.

        Raises
        ------
        NotReady
            It names none, or one that is no child of ours.
        """
        if "error" in said:
            raise ProcessNotReady(f"its base could not fork it: {said['error']}")
        try:
            pid = int(said["pid"])
            descriptor = os.pidfd_open(pid)
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise ProcessNotReady(f"its base answered {json.dumps(said)}") from error
        try:
            os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except OSError as error:
            os.close(descriptor)
            raise ProcessNotReady(f"its base answered {pid}, which is no child of ours") from error
        return cls(pid, descriptor)

    async def wait(self) -> int:
        """Wait for its end; returns how it ended."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int, /) -> None:
        """Signal it, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._ended.set()


async def _unwanted(fork: asyncio.Task[InstanceProcess]) -> None:
    """End what is forked after all."""
    with contextlib.suppress(ProcessNotReady):
        child = await fork
        child.kill()
        await child.wait()


class _Askers:
    """How many forks are under way; only then are orphans below us ours to bury."""

    now = 0


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """Be the parent of what is orphaned meanwhile, instead of the system's first process."""
    _Askers.now += 1
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        _Askers.now -= 1
        if not _Askers.now:
            _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
