"""Standard output that cannot be written to: closed, or on a full disk."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path

__all__ = ["give_up", "have_one", "is_unwritable"]

_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF}


def have_one() -> None:
    """Have what is written to a closed standard output fail; Python drops it."""
    if sys.stdout is None:  # after `>&-`
        sys.stdout = Path(os.devnull).open()  # noqa: SIM115  # to be read alone, until the end


def is_unwritable(error: OSError) -> bool:
    """Whether an error says that nothing more can be written."""
    return error.errno in _UNWRITABLE or isinstance(error, io.UnsupportedOperation)


def give_up() -> None:
    """Drop what is buffered, which would fail again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
