"""The versioned bytes of whatever the profiler keeps in its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from streams.models.counts import empty, trimmed
from streams.models.mixing import M
from streams.models.network import Memory, Network, PoolWeights
from streams.models.parameters import Parameters
from streams.models.population import Population
from streams.models.profile import Profile
from streams.models.vocabulary import Vocabulary
from streams.models.wire import Array, Reader, Writer, packed

__all__ = ["decode", "encode"]

VERSION = 3

_OBJECTS: Mapping[int, Any] = {
    1: Profile,
    2: Population,
    3: Vocabulary,
    6: Parameters,
    7: Network,
    8: Memory,
    9: PoolWeights,
}
_KINDS = {kind: number for number, kind in _OBJECTS.items()}
_ROW, _WEIGHTS = 4, 5


def encode(value: Any) -> bytes:
    """The bytes of a row: version, kind, content."""
    if isinstance(value, np.ndarray):
        return _array(value)
    out = Writer()
    out.data += bytes((VERSION, _KINDS[type(value)]))
    value.write(out)
    return bytes(out.data)


def _array(values: Array) -> bytes:
    counts = values.dtype.char == "H"
    kind, data = (_ROW, trimmed(values)) if counts else (_WEIGHTS, packed(values))
    if len(data) < 0x80:  # so are nearly all that are saved, several an event
        return bytes((VERSION, kind, len(data))) + data
    out = Writer()
    out.data += bytes((VERSION, kind))
    out.blob(data)
    return bytes(out.data)


def decode(data: bytes) -> Any:
    """The row of these bytes; ValueError where they are not one."""
    if len(data) < 2 or data[0] != VERSION:
        raise ValueError(f"not a row of the profiler's state, version {VERSION}: {data[:8]!r}")
    reader = Reader(data, 2)
    value = _read(data[1], reader)
    reader.end()
    return value


def _read(kind: int, data: Reader) -> Any:
    if kind == _ROW:
        return data.array_like(empty())
    if kind == _WEIGHTS:
        return data.array_like(np.zeros(M + 1, np.float32))
    if kind not in _OBJECTS:
        raise ValueError(f"a row of the profiler's state of unknown kind {kind}")
    return _OBJECTS[kind].read(data)
