"""The zygote of a base: imports shared modules once, then forks an instance on each request.

It is the command of a base in the catalogue. It is run by its path and needs nothing of foremesh,
so the interpreter may be that of any environment; interpreter options apply to the forks too::

    model: {command: [/opt/draw/bin/python, "{zygote}", --import, "torch,draw.weights"], ...}
    sketch: {command: [/opt/draw/bin/python, -m, draw.sketch], base: model, ...}

Standard input is a SOCK_SEQPACKET socket whose other end only the provisioner holds: whoever can
write to it can run code. Each packet is a JSON object, and any program may implement the protocol:

- ``{"ready": true}`` is sent once, when everything is imported;
- ``{"argv": [...], "port": N}`` requests an instance. It comes with a descriptor for the instance's
  standard error, and one for the ``cgroup.procs`` of each of its cgroups, to which the instance
  writes 0 before it runs;
- ``{"pid": N}`` or ``{"error": "..."}`` is the answer.

The instance runs what its command line would run by itself. It is forked twice. Its parent becomes
the provisioner, which is a subreaper meanwhile: so it outlives its base, but never the provisioner.
It runs only after the answer was sent, so that no instance runs that the provisioner does not know.

**One thread.** A fork has only the thread that called it; a lock held by another thread stays
locked in the fork for ever. Nothing here starts a thread, and if an import leaves a Python thread
running, the zygote exits. Threads of native libraries cannot be seen from here: OpenBLAS stops its
own around a fork, but OpenMP threads and a CUDA context are lost in the fork without notice. So a
base should import modules and load weights into memory, but compute nothing and use no GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main", "program_of"]

_PR_SET_PDEATHSIG = 1
_PACKET_BYTES = 256 * 1024  # most of one packet
_DESCRIPTORS = 8  # most with one packet
# Random generators that survive a fork unchanged: all forks would draw the same numbers.
_SEEDED = ("numpy.random", "torch")


def program_of(argv: Sequence[str]) -> list[str]:
    """Return what a command line runs, without the interpreter and its options.

    That is `-m` and a module, or a script, each followed by its arguments.

    Raises
    ------
    ValueError
        It names another interpreter, or neither a module nor a script.
    """
    python, *words = argv
    executable = shutil.which(python)
    if not executable or _location(executable) != _location(sys.executable):
        raise ValueError(f"{python} is not the interpreter of its base, {sys.executable}")
    while words and words[0].startswith("-") and words[0] not in {"-m", "-c"}:
        words = words[2:] if words[0] in {"-X", "-W"} else words[1:]
    if len(words) < 1 + (words[:1] == ["-m"]) or words[0] == "-c":
        raise ValueError("its command runs neither a script nor a module")
    return words


def _location(executable: str) -> tuple[Path, Path]:
    """Return folder and target: interpreters of virtual environments may link to one target."""
    return Path(executable).parent.resolve(), Path(executable).resolve()


def _run(words: list[str]) -> None:
    """Run the program in this process."""
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        if not sys.flags.safe_path:
            sys.path[0] = str(Path(words[0]).resolve().parent)
        runpy.run_path(words[0], run_name="__main__")


def _prepare(modules: Sequence[str]) -> None:
    """Import the shared modules, then freeze the heap."""
    for name in modules:
        importlib.import_module(name)
    if threading.active_count() > 1:
        names = ", ".join(t.name for t in threading.enumerate() if t is not threading.main_thread())
        raise SystemExit(f"a base forks, so it may have one thread only; an import started {names}")
    gc.collect()
    gc.freeze()  # a collection in a fork would otherwise write to shared pages, and so copy them


def _serve_forks(pipe: socket.socket, parent: int) -> list[str]:
    """Fork on each request; returns only in the forks, with the program to run."""
    pipe.send(json.dumps({"ready": True}).encode())
    while True:
        packet, descriptors, _, _ = socket.recv_fds(pipe, _PACKET_BYTES, _DESCRIPTORS)
        if not packet:
            raise SystemExit(0)  # the provisioner has closed its end
        request = json.loads(packet)
        try:
            words = program_of(request["argv"])
            if _fork_instance(pipe, parent, descriptors[1:]):
                pipe.close()
                _set_up_instance(request["port"], descriptors)
                return words
        except (OSError, ValueError) as error:
            pipe.send(json.dumps({"error": str(error)}).encode())
        for descriptor in descriptors:
            os.close(descriptor)


def _fork_instance(pipe: socket.socket, parent: int, cgroup_procs: Sequence[int]) -> bool:
    """Fork an instance and answer with its process id; True in the fork."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        middle = os.fork()
        if middle == 0:
            ours.close()
            _orphan(theirs, parent, cgroup_procs)
            return True
        theirs.close()
        os.waitpid(middle, 0)  # the grandchild is adopted from now on
        pid = ours.recv(32)
        if not pid:
            raise OSError("the fork ended at once")
        pipe.send(json.dumps({"pid": int(pid)}).encode())
        with contextlib.suppress(BrokenPipeError):  # it has ended; the provisioner will see that
            ours.send(b"!")
        return False


def _orphan(theirs: socket.socket, parent: int, cgroup_procs: Sequence[int]) -> None:
    """Fork again, so that the provisioner adopts the grandchild; wait for the word to run."""
    try:
        if os.fork():
            os._exit(0)
        for procs in cgroup_procs:
            os.write(procs, b"0")
        theirs.send(str(os.getpid()).encode())
        may_run = theirs.recv(1)
    except OSError:  # a cgroup refuses it, or the base has ended
        os._exit(1)
    if may_run:  # until then it is in the base's process group, and is killed with it
        os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if not may_run or os.getppid() != parent:
        os._exit(1)


def _set_up_instance(port: int, descriptors: Sequence[int]) -> None:
    """Give a fork its own standard error, port and random seeds."""
    for descriptor in descriptors[:1]:
        os.dup2(descriptor, 2)
    for descriptor in descriptors:
        os.close(descriptor)
    os.environ["PORT"] = str(port)
    for name in _SEEDED:
        if name in sys.modules:
            sys.modules[name].seed()


def main(argv: Sequence[str] | None = None) -> None:
    """Import the modules, then fork on request until the provisioner closes its end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--import", dest="modules", default="", help="modules, separated by commas")
    given = parser.parse_args(argv)
    parent = os.getppid()
    try:
        pipe = socket.socket(fileno=os.dup(0))
    except OSError:
        parser.error("standard input is not a socket: the provisioner must start this program")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    if not sys.flags.safe_path:
        sys.path[0] = str(Path.cwd())
    _prepare([name for name in given.modules.split(",") if name])
    _run(_serve_forks(pipe, parent))


if __name__ == "__main__":
    main()
