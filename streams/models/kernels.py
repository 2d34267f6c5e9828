"""Functions as machine code: compiled once, when foremesh is installed or first imported."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba import types

__all__ = [
    "F4", "F8", "FLOAT", "I8", "INT", "ROW", "U2", "U4", "F4x2", "F8x2", "inner", "kernel", "rows",
]  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])

INT, FLOAT = types.int64, types.float64
U2, U4, I8 = types.uint16[::1], types.uint32[::1], types.int64[::1]
F4, F8 = types.float32[::1], types.float64[::1]
F4x2, F8x2 = types.float32[:, ::1], types.float64[:, ::1]
ROW = types.uint16[:, ::1]  # a sparse row of counts: number, count

_HERE = Path(__file__).parent
_ROOMS = _HERE, _HERE.parent / "lab" / "models"
_compile: Any = partial(numba.njit, error_model="numpy")
_config: Any = numba.config
_types: Any = types


def _digest() -> str:
    """Of all sources with kernels: numba looks only at the file of the outermost function."""
    sources = sorted(path for room in _ROOMS for path in room.rglob("*.py"))
    return hashlib.blake2b(b"".join(s.read_bytes() for s in sources), digest_size=8).hexdigest()


_config.CACHE_DIR = str(Path(_config.CACHE_DIR or _HERE / "__pycache__" / "kernels") / _digest())


def rows(count: int) -> Any:
    """The type of so many rows of counts."""
    return _types.UniTuple(ROW, count)


def inner(function: F) -> F:
    """A function that kernels call."""
    compiled: F = _compile()(function)
    return compiled


def kernel(*arguments: Any) -> Callable[[F], F]:
    """A function that Python calls with arguments of these types.

    It is compiled as it is defined, or read back where an earlier process kept it: no event
    waits for a compiler. Where nothing can be kept, every process compiles anew, in seconds.
    """

    def compiled(function: F) -> F:
        try:
            kept: F = _compile(arguments, cache=True)(function)
        except RuntimeError as error:
            if "no locator" not in str(error):
                raise
            kept = _compile(arguments)(function)
        return kept

    return compiled
