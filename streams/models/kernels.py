"""Functions as machine code: compiled once, when foremesh is installed or first imported."""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt
from numba import types
from numba.core import event
from numba.core.caching import UserProvidedCacheLocator
from numba.np import linalg

__all__ = [
    "B1", "F4", "F8", "FLOAT", "I8", "INT", "U2", "B1x2", "F4x2", "F8x2", "I8x2", "Record", "Records", "Table", "array_of",
    "chosen", "inner", "kernel", "named", "record", "repeated",
]  # fmt: skip

_log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

Table = npt.NDArray[np.float64]
Records = npt.NDArray[Any]  # an array of records
Record = Any  # one of them: its fields are attributes in kernels, keys elsewhere

INT, FLOAT = types.int64, types.float64
U2, I8 = types.uint16[::1], types.int64[::1]
F4, F8 = types.float32[::1], types.float64[::1]
F4x2, F8x2 = types.float32[:, ::1], types.float64[:, ::1]
B1, B1x2, I8x2 = types.boolean[::1], types.boolean[:, ::1], types.int64[:, ::1]

_HERE = Path(__file__).parent
_ROOMS = _HERE, _HERE.parent / "allocator" / "valuation"
_compile: Any = partial(numba.njit, error_model="numpy")
_config: Any = numba.config
_numba: Any = numba
_types: Any = types


def _skip_blas() -> None:
    """Have numba import its arithmetic, but not scipy.linalg: a tenth of a worker's start.

    It would look at once whether there is BLAS, which no kernel here uses. Who does finds it.
    """
    numpy_part: Any = linalg
    ensure, numpy_part.ensure_blas = numpy_part.ensure_blas, lambda: None
    importlib.import_module("numba.np.arraymath")
    numpy_part.ensure_blas = ensure


_skip_blas()
_DISPATCHERS: list[Any] = []  # keep alive what entry points run


def _digest() -> str:
    """Of all sources with kernels: numba looks only at the file of the outermost function."""
    sources = sorted(path for room in _ROOMS for path in room.rglob("*.py"))
    return hashlib.blake2b(b"".join(s.read_bytes() for s in sources), digest_size=8).hexdigest()


_config.CACHE_DIR = str(Path(_config.CACHE_DIR or _HERE / "__pycache__" / "kernels") / _digest())


class KeptKernels(UserProvidedCacheLocator):
    """The folder of compiled kernels, which may be one that cannot be written to: an image's."""

    def ensure_cache_path(self) -> None:
        """Have the folder; numba wants to write to it, even to read what is there."""
        inherited: Any = super()
        try:
            inherited.ensure_cache_path()
        except OSError:
            if not Path(self._cache_path).is_dir():
                raise


_config.CACHE_LOCATOR_CLASSES = f"{__name__}.{KeptKernels.__name__},UserWideCacheLocator"


class CompilationNotice(event.Listener):
    """Says once that it compiles, where nothing compiled was found: else half a minute is silent."""

    def __init__(self) -> None:
        self.said = False

    def on_start(self, event: Any) -> None:
        """Say it at the first function."""
        del event
        if not self.said:  # as a warning, which is shown even before a command sets up logging
            _log.warning("Compiling the models: half a minute or more, once where it can be kept")
        self.said = True

    def on_end(self, event: Any) -> None:
        """Say nothing more."""


_numba.core.event.register("numba:compile", CompilationNotice())


def record(**fields: Any) -> np.dtype[Any]:
    """The type of a record with these fields: each a type, or a type and a shape.

    The bytes of an array of records are those of its fields one after the other.
    """
    parts = [
        (name, *(kind if isinstance(kind, tuple) else (kind,))) for name, kind in fields.items()
    ]
    return np.dtype(parts, align=True)


def array_of(kind: np.dtype[Any]) -> Any:
    """The kernel type of an array of such records."""
    return _numba.from_dtype(kind)[::1]


def repeated(kind: Any, count: int) -> Any:
    """The kernel type of a tuple of so many values of one kind."""
    return _types.UniTuple(kind, count)


def named(cls: type, **fields: Any) -> Any:
    """The kernel type of a named tuple whose fields have these kernel types."""
    assert tuple(fields) == cls._fields, cls  # type: ignore[attr-defined]
    return _types.BaseTuple.from_types(tuple(fields.values()), cls)


def inner(function: F) -> F:
    """A function that kernels call."""
    compiled: F = _compile()(function)
    return compiled


def chosen(find: Callable[..., int], most: int, *given: Any) -> list[int]:
    """The places that a kernel finds: it fills them in as its last argument, and tells how many."""
    found = np.empty(most, np.int64)
    places: list[int] = found[: find(*given, found)].tolist()
    return places


def kernel(*arguments: Any) -> Callable[[F], F]:
    """A function that Python calls with arguments of these types, and no other kernel calls.

    It is compiled as it is defined, or read back where an earlier process kept it: no event
    waits for a compiler. Where nothing can be kept, every process compiles anew, in seconds.

    With one signature there is nothing to dispatch: the entry point takes the arguments at once,
    which saves 2 to 3 us a call of 7 to 9. It checks the dimensions and item sizes of arrays only.
    """

    def compiled(function: F) -> F:
        try:
            kept: Any = _compile(arguments, cache=True)(function)
        except (RuntimeError, OSError) as error:
            if isinstance(error, RuntimeError) and "no locator" not in str(error):
                raise
            kept = _compile(arguments)(function)
        _DISPATCHERS.append(kept)
        (result,) = kept.overloads.values()
        entry_point: F = result.entry_point
        return entry_point

    return compiled
