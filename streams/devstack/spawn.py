"""Drop root, tie this process to its parent, then execute a program.

Run as a script, `spawn.py PARENT SIGNAL USER PROGRAM [ARGUMENT...]`: the kernel sends SIGNAL when
the thread that started it ends (0: never), and root becomes USER ("-": stays root). A script and
not a `preexec_fn`, which is unsafe in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys

__all__ = ["become"]

# linux/prctl.h, linux/securebits.h and linux/capability.h
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_GET_SECUREBITS, PR_SET_SECUREBITS = 1, 8, 27, 28
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAPABILITY_VERSION_3, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 0x20080522, 1, 2


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySets(ctypes.Structure):
    _fields_ = tuple(
        (f"{name}{half}", ctypes.c_uint32)
        for half in ("", "_high")
        for name in ("effective", "permitted", "inheritable")
    )


def become(parent: int, death_signal: int, user: str, argv: list[str]) -> None:
    """Replace this process by `argv`; does not return."""
    if os.geteuid() == 0 and user != "-":
        _drop_root(user)
    if death_signal and sys.platform == "linux":
        # After the change of user, which clears it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit("the parent ended first")
    os.execv(argv[0], argv)  # noqa: S606  # no shell, the caller's own program


def _drop_root(user: str) -> None:
    """Become `user`, keeping access to files below directories that only root may enter."""
    entry = pwd.getpwnam(user)
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "linux":
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        # access(2) ignores the capabilities of a user other than root without this bit, and
        # PostgreSQL looks for its own programs with access(2).
        bits = libc.prctl(PR_GET_SECUREBITS, 0, 0, 0, 0)
        libc.prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    if sys.platform == "linux":
        _keep_search(libc)


def _keep_search(libc: ctypes.CDLL) -> None:
    """Drop every capability but the one to search directories, which the next program gets too."""
    header, held = _CapabilityHeader(CAPABILITY_VERSION_3, 0), _CapabilitySets()
    libc.capget(ctypes.byref(header), ctypes.byref(held))
    # A container may lack the narrower of the two: Docker's default is one that does.
    wanted = (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE)
    kept = next((capability for capability in wanted if held.permitted & 1 << capability), None)
    bit = 0 if kept is None else 1 << kept
    sets = _CapabilitySets(effective=bit, permitted=bit, inheritable=bit)
    if libc.capset(ctypes.byref(header), ctypes.byref(sets)):
        sys.exit(f"cannot drop root's capabilities: {os.strerror(ctypes.get_errno())}")
    if kept is not None:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kept, 0, 0)


if __name__ == "__main__":
    become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
