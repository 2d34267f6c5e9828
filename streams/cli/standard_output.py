"""Standard output as it is found: of any encoding, closed, or on a full disk."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path

__all__ = ["give_up", "have_one", "is_unwritable"]

_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF}


def have_one() -> None:
    """Have what is written come whole, in UTF-8, or fail; Python drops it where output is closed."""
    if sys.stdout is None:  # after `>&-`
        sys.stdout = Path(os.devnull).open()  # noqa: SIM115  # to be read alone, until the end
    if sys.stdin is None:  # after `<&-`
        sys.stdin = Path(os.devnull).open()  # noqa: SIM115  # to be read until the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def is_unwritable(error: OSError) -> bool:
    """Whether an error says that nothing more can be written."""
    return error.errno in _UNWRITABLE or isinstance(error, io.UnsupportedOperation)


def give_up() -> None:
    """Drop what is buffered, which would fail again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
