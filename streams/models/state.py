"""The versioned bytes of whatever the profiler keeps in its state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from streams.models.counts import Counts
from streams.models.gaps import Gaps
from streams.models.history import History
from streams.models.mixing import Newton
from streams.models.profile import Profile
from streams.models.returns import Returns
from streams.models.vocabulary import Vocabulary
from streams.models.wire import Reader, Writer

__all__ = ["decode", "encode"]

VERSION = 1

_KINDS: Mapping[type, int] = {
    Profile: 1,
    Counts: 2,
    Gaps: 3,
    Vocabulary: 4,
    np.ndarray: 5,
    Returns: 6,
    Newton: 7,
}
_READERS: Mapping[int, Callable[[Reader], Any]] = {
    _KINDS[row]: row.read for row in (Counts, Gaps, Vocabulary, Returns, Newton)
}


def encode(value: Any) -> bytes:
    """The bytes of a row: version, kind, content."""
    out = Writer()
    out.data += bytes((VERSION, _KINDS[type(value)]))
    if isinstance(value, np.ndarray):
        out.floats(value)
    else:
        value.write(out)
    return bytes(out.data)


def decode(data: bytes, history: Callable[[], History]) -> Any:
    """The row of these bytes; ValueError where they are not one."""
    if len(data) < 2 or data[0] != VERSION:
        raise ValueError(f"not a row of the profiler's state, version {VERSION}: {data[:8]!r}")
    reader = Reader(data, 2)
    value = _read(data[1], reader, history)
    reader.end()
    return value


def _read(kind: int, data: Reader, history: Callable[[], History]) -> Any:
    if kind == _KINDS[Profile]:
        return Profile.read(data, history())
    if kind == _KINDS[np.ndarray]:
        return data.floats()
    reader = _READERS.get(kind)
    if reader is None:
        raise ValueError(f"a row of the profiler's state of unknown kind {kind}")
    return reader(data)
