"""Child processes: spawning, readiness over HTTP, ending. None outlives its parent."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

import aiohttp

from streams.provisioners.local.cgroups import UNLIMITED, InstanceCgroup
from streams.runtime.ports import free_port

__all__ = [
    "InstanceProcess",
    "ProcessHandle",
    "ProcessNotReady",
    "SupervisedProcess",
    "argv_of",
    "spawned",
]

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_POLL_S = 0.01
_TAIL = 2_000  # bytes of standard error that are kept
_UNTIMED = aiohttp.ClientTimeout()  # a request to an instance: its start has a limit
_ZYGOTE = str(Path(__file__).with_name("zygote.py"))


class ProcessNotReady(Exception):
    """A process did not become ready; the message says why."""


def argv_of(command: Sequence[str], port: int) -> list[str]:
    """Return a catalogue's command line with `{python}`, `{zygote}` and `{port}` filled in."""
    known = {"{python}": sys.executable, "{zygote}": _ZYGOTE, "{port}": str(port)}
    argv = list(command)
    for name, value in known.items():
        argv = [word.replace(name, value) for word in argv]
    return argv


def _before_exec(parent: int, cgroup_procs: Sequence[int]) -> None:
    for procs in cgroup_procs:  # before it runs anything, so that its children are limited too
        os.write(procs, b"0")
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before the line above
        os._exit(1)


async def spawned(
    command: Sequence[str],
    port: int,
    cgroup: InstanceCgroup,
    environment: Mapping[str, str],
    stdin: int = asyncio.subprocess.DEVNULL,
) -> tuple[asyncio.subprocess.Process, int]:
    """Start a command line; returns the process and the read end of its standard error.

    Raises
    ------
    ProcessNotReady
        It cannot be executed.
    """
    if not command:
        raise ProcessNotReady("the catalogue has no command for it")
    reading, writing = os.pipe()
    try:
        with cgroup.open_procs() as procs:
            process = await asyncio.create_subprocess_exec(
                *argv_of(command, port),
                env={**environment, "PORT": str(port)},
                stdin=stdin,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=writing,
                start_new_session=True,
                # Safe between fork and exec: the hook makes a few system calls and takes no lock.
                preexec_fn=functools.partial(_before_exec, os.getpid(), procs),
            )
    except (OSError, ValueError) as error:  # a word with a NUL, which no command line can have
        os.close(reading)
        why = error.strerror if isinstance(error, OSError) else error
        raise ProcessNotReady(f"{command[0]} cannot be started: {why}") from error
    except subprocess.SubprocessError as error:
        os.close(reading)
        raise ProcessNotReady(f"{command[0]} cannot be put into its cgroups") from error
    finally:
        os.close(writing)
    return process, reading


class ProcessHandle(Protocol):
    """What is used of `asyncio.subprocess.Process`."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    @property
    def returncode(self) -> int | None:
        """Its exit code; None while it runs."""
        ...

    async def wait(self) -> int:
        """Wait for its end; returns its exit code."""
        ...

    def send_signal(self, signal: int, /) -> None:
        """Send a signal; if it has ended, ProcessLookupError may be raised."""
        ...


class SupervisedProcess:
    """A process that leads its own process group, with the tail of its standard error."""

    endpoint = ""  # serves no requests

    def __init__(self, process: ProcessHandle, errors: int) -> None:
        self._process = process
        self._errors = errors
        self._tail = b""
        self.pid = process.pid
        os.set_blocking(errors, False)
        asyncio.get_running_loop().add_reader(errors, self._read_errors)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.returncode is None

    async def wait(self) -> str:
        """Wait for its end; returns how it ended, with the last line of its standard error."""
        code = await self._process.wait()
        self.kill()  # its own children may still run
        self._close_errors()
        how = f"exited with code {code}" if code >= 0 else f"was killed by signal {-code}"
        lines = self._tail.decode(errors="replace").strip().splitlines()
        return f"{how}: {lines[-1].strip()[:200]}" if code > 0 and lines else how

    async def stop(self, grace_s: float) -> None:
        """Send SIGTERM, and SIGKILL if it still runs after `grace_s`."""
        self._signal(signal.SIGTERM)
        try:
            # Not `wait_for`: before Python 3.12 it can swallow a cancellation that races with the end.
            async with asyncio.timeout(grace_s):
                await self._process.wait()
        except TimeoutError:
            self.kill()

    def kill(self) -> None:
        """Kill it and its process group."""
        if self.alive:  # a process just forked may not lead its group yet
            self._signal(signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _read_errors(self) -> None:
        try:
            data = os.read(self._errors, 65_536)
        except BlockingIOError:
            return
        if data:
            self._tail = (self._tail + data)[-_TAIL:]
        else:
            self._close_errors()

    def _close_errors(self) -> None:
        if self._errors < 0:
            return
        with contextlib.suppress(BlockingIOError):
            self._tail = (self._tail + os.read(self._errors, 65_536))[-_TAIL:]
        asyncio.get_running_loop().remove_reader(self._errors)
        os.close(self._errors)
        self._errors = -1


class InstanceProcess(SupervisedProcess):
    """A process that serves HTTP: an instance of a constituent."""

    def __init__(self, process: ProcessHandle, port: int, errors: int) -> None:
        super().__init__(process, errors)
        self.endpoint = f"http://127.0.0.1:{port}"

    @classmethod
    async def spawn(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        cgroup: InstanceCgroup = UNLIMITED,
    ) -> Self:
        """Start an instance by its command line, with this environment and PORT, in a cgroup.

        Raises
        ------
        ProcessNotReady
            It cannot be executed.
        """
        port = free_port()
        process, errors = await spawned(command, port, cgroup, environment)
        return cls(process, port, errors)

    async def ready(self, session: aiohttp.ClientSession, path: str, timeout_s: float) -> None:
        """Wait until a request to `path` is answered with 200.

        Raises
        ------
        ProcessNotReady
            It ended, or did not answer in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while self.alive:
                    if await self._is_well(session, path):
                        return
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise ProcessNotReady(
                f"did not answer {path} within {round(timeout_s, 1):g} s"
            ) from None
        raise ProcessNotReady("ended")

    async def _is_well(self, session: aiohttp.ClientSession, path: str) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            url = self.endpoint + path
            async with session.get(url, timeout=_UNTIMED, allow_redirects=False) as answer:
                return answer.status == 200
        return False

    async def warm_up(
        self, session: aiohttp.ClientSession, path: str, body: str, timeout_s: float
    ) -> None:
        """Send one request, so that what is loaded or compiled on first use is done.

        Raises
        ------
        ProcessNotReady
            There was no answer in time, or the answer was an error.
        """
        method, headers = ("POST", {"Content-Type": "application/json"}) if body else ("GET", {})
        request = session.request(
            method, self.endpoint + path, data=body or None, headers=headers, timeout=_UNTIMED,
            allow_redirects=False,
        )  # fmt: skip
        try:
            async with asyncio.timeout(timeout_s), request as answer:
                async for _ in answer.content.iter_any():
                    pass  # it may be of any length, and nobody looks at it
        except (aiohttp.ClientError, TimeoutError) as error:
            why = str(error) or f"nothing within {round(timeout_s, 1):g} s"
            raise ProcessNotReady(f"did not answer its warm-up request {path}: {why}") from error
        if not answer.ok:
            raise ProcessNotReady(f"answered its warm-up request {path} with {answer.status}")
