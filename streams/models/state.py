"""The versioned bytes of whatever the profiler keeps in its state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from streams.models.counts import Counts
from streams.models.gaps import Gaps
from streams.models.history import History
from streams.models.profile import Profile
from streams.models.vocabulary import Vocabulary
from streams.models.wire import Reader, Writer

__all__ = ["decode", "encode"]

VERSION = 1

_KINDS: Mapping[type, int] = {Profile: 1, Counts: 2, Gaps: 3, Vocabulary: 4, np.ndarray: 5}


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
    match kind:
        case 1:
            return Profile.read(data, history())
        case 2:
            return Counts.read(data)
        case 3:
            return Gaps.read(data)
        case 4:
            return Vocabulary.read(data)
        case 5:
            return data.floats()
        case _:
            raise ValueError(f"a row of the profiler's state of unknown kind {kind}")
