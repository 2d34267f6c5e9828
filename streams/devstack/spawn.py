"""Become a program that runs as no root and, when wished, ends with its parent.

Run as a script, `spawn.py PARENT SIGNAL USER PROGRAM [ARGUMENT...]`: the kernel sends SIGNAL when
the thread that started it ends (0: never), and root becomes USER ("-": stays). A script and not a
`preexec_fn`, which is unsafe in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys

__all__ = ["become"]

# linux/prctl.h and linux/capability.h
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
CAPABILITY_VERSION_3, CAP_DAC_READ_SEARCH = 0x20080522, 2


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = tuple(
        (f"{name}{half}", ctypes.c_uint32)
        for half in ("", "_high")
        for name in ("effective", "permitted", "inheritable")
    )


def become(parent: int, death_signal: int, user: str, argv: list[str]) -> None:
    """Turn this process into `argv`; returns never."""
    if os.geteuid() == 0 and user != "-":
        _drop_root(user)
    if death_signal and sys.platform == "linux":
        # After the change of user, which clears it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit("the parent ended first")
    os.execv(argv[0], argv)  # noqa: S606  # no shell, the caller's own program


def _drop_root(user: str) -> None:
    """Be `user`, still able to reach files below folders that only root may enter."""
    entry = pwd.getpwnam(user)
    libc = ctypes.CDLL(None)
    if sys.platform == "linux":
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    if sys.platform == "linux":
        bit = 1 << CAP_DAC_READ_SEARCH
        sets = _Sets(effective=bit, permitted=bit, inheritable=bit)
        libc.capset(ctypes.byref(_Header(CAPABILITY_VERSION_3, 0)), ctypes.byref(sets))
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0)


if __name__ == "__main__":
    become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
