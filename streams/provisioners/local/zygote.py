"""A base: it has imported what instances share, and forks one when the provisioner asks.

It is the command of a base in the catalogue. Run by its path it needs nothing of foremesh, so the
interpreter may be that of any environment; its options are those of the instances too::

    model: {command: [/opt/draw/bin/python, "{zygote}", --import, "torch,draw.weights"], ...}
    sketch: {command: [/opt/draw/bin/python, -m, draw.sketch], base: model, ...}

Standard input is a socket of packets that the provisioner alone holds the other end of: whoever can
write to it can have code run. A packet is a JSON object, and any program may speak so:

- ``{"ready": true}`` it says once, when everything is imported;
- ``{"argv": [...], "port": N}`` asks for an instance, with a descriptor for its standard error, and
  more where it is limited, one for each of its cgroups: it writes 0 to them before it runs;
- ``{"pid": N}`` or ``{"error": "..."}`` is the answer.

The instance runs what that command line would run by itself. It is forked twice: the provisioner,
which adopts orphans meanwhile, is its parent, so it outlives its base, but never the provisioner.
Nor does one live that nobody was told of: it runs only after the answer was sent.

**One thread.** A fork has the thread that called it and no other; a lock that another one held is
locked in it for ever. Nothing here starts a thread, and an import that leaves one of Python's
running ends the base. Libraries with threads of their own are theirs to answer for: OpenBLAS stops
them around a fork, but those of OpenMP, and a CUDA context, are gone in the fork without its
knowing. So let a base import, and load weights into memory, but compute nothing, and use no GPU.
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
_MOST = 256 * 1024  # bytes of a packet
_DESCRIPTORS = 8  # of a packet, at most
# Generators that do not notice a fork: without this all instances would draw the same numbers.
_SEEDED = ("numpy.random", "torch")


def program_of(argv: Sequence[str]) -> list[str]:
    """What a command line has this interpreter run: `-m` and a module, or a script; with arguments.

    Raises
    ------
    ValueError
        It is not run by this interpreter, or is neither of the two.
    """
    python, *words = argv
    found = shutil.which(python)
    if not found or _place(found) != _place(sys.executable):
        raise ValueError(f"{python} is not the interpreter of its base, {sys.executable}")
    while words and words[0].startswith("-") and words[0] not in {"-m", "-c"}:
        words = words[2:] if words[0] in {"-X", "-W"} else words[1:]
    if len(words) < 1 + (words[:1] == ["-m"]) or words[0] == "-c":
        raise ValueError("its command runs neither a script nor a module")
    return words


def _place(executable: str) -> tuple[Path, Path]:
    """A virtual environment's interpreter is a link: its folder tells it from others."""
    return Path(executable).parent.resolve(), Path(executable).resolve()


def _run(words: list[str]) -> None:
    """Be that program."""
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        if not sys.flags.safe_path:
            sys.path[0] = str(Path(words[0]).resolve().parent)
        runpy.run_path(words[0], run_name="__main__")


def _prepare(modules: Sequence[str]) -> None:
    """Import all that is shared."""
    for name in modules:
        importlib.import_module(name)
    if threading.active_count() > 1:
        names = ", ".join(t.name for t in threading.enumerate() if t is not threading.main_thread())
        raise SystemExit(f"a base forks, so it may have one thread only; an import started {names}")
    gc.collect()
    gc.freeze()  # or collections in the instances would write to, and so copy, the shared memory


def _serve(pipe: socket.socket, parent: int) -> list[str]:
    """Fork whenever asked; returns in each fork, with what to run, and never here."""
    pipe.send(json.dumps({"ready": True}).encode())
    while True:
        said, descriptors, _, _ = socket.recv_fds(pipe, _MOST, _DESCRIPTORS)
        if not said:
            raise SystemExit(0)  # the provisioner has let go
        order = json.loads(said)
        try:
            words = program_of(order["argv"])
            if _fork(pipe, parent, descriptors[1:]):
                pipe.close()
                _become(order["port"], descriptors)
                return words
        except (OSError, ValueError) as error:
            pipe.send(json.dumps({"error": str(error)}).encode())
        for descriptor in descriptors:
            os.close(descriptor)


def _fork(pipe: socket.socket, parent: int, doors: Sequence[int]) -> bool:
    """Fork one and answer with its number; whether this is the fork."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        between = os.fork()
        if between == 0:
            ours.close()
            _orphan(theirs, parent, doors)
            return True
        theirs.close()
        os.waitpid(between, 0)  # now the other is adopted
        pid = ours.recv(32)
        if not pid:
            raise OSError("what was forked ended at once")
        pipe.send(json.dumps({"pid": int(pid)}).encode())
        with contextlib.suppress(BrokenPipeError):  # it has ended since: its parent sees that
            ours.send(b"!")
        return False


def _orphan(theirs: socket.socket, parent: int, doors: Sequence[int]) -> None:
    """Fork again, so that somebody else must be the parent; wait until it is known who."""
    try:
        if os.fork():
            os._exit(0)
        for door in doors:
            os.write(door, b"0")
        theirs.send(str(os.getpid()).encode())
        told = theirs.recv(1)
    except OSError:  # there is no room for it, or its base has ended
        os._exit(1)
    if told:  # until then it is of the base's group, and buried with that
        os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if not told or os.getppid() != parent:
        os._exit(1)


def _become(port: int, descriptors: Sequence[int]) -> None:
    """Have what is an instance's own."""
    for descriptor in descriptors[:1]:
        os.dup2(descriptor, 2)
    for descriptor in descriptors:
        os.close(descriptor)
    os.environ["PORT"] = str(port)
    for name in _SEEDED:
        if name in sys.modules:
            sys.modules[name].seed()


def main(argv: Sequence[str] | None = None) -> None:
    """Import, then fork until the provisioner lets go."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--import", dest="modules", default="", help="separated by commas")
    given = parser.parse_args(argv)
    parent = os.getppid()
    try:
        pipe = socket.socket(fileno=os.dup(0))
    except OSError:
        parser.error("standard input is no socket: the provisioner is to start this")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    if not sys.flags.safe_path:
        sys.path[0] = str(Path.cwd())
    _prepare([name for name in given.modules.split(",") if name])
    _run(_serve(pipe, parent))


if __name__ == "__main__":
    main()
