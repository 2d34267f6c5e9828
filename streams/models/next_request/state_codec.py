"""The versioned bytes of whatever the profiler keeps in its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from streams.models.counts import COUNT, empty, trimmed
from streams.models.next_request.former_rows import FORMER
from streams.models.next_request.network_expert import NetworkState
from streams.models.next_request.parameters import RequestParameters
from streams.models.next_request.population import PopulationState
from streams.models.next_request.user_profile import UserProfile, read_weights
from streams.models.next_request.vocabulary import ServiceVocabulary
from streams.models.state_bytes import Array, StateReader, StateWriter, packed

__all__ = ["OBJECTS", "StateCodec", "decode", "encode"]

VERSION = 5  # of earlier ones see `FORMER`

OBJECTS: Mapping[int, Any] = {
    2: PopulationState,
    3: ServiceVocabulary,
    6: RequestParameters,
    7: NetworkState,
    8: UserProfile,
}
_ROW, _WEIGHTS = 4, 5


class StateCodec:
    """Encodes rows of the state as version, kind, content; and reads them back.

    Parameters
    ----------
    objects
        By kind, the classes of rows other than arrays, with `write` and `read`.
    """

    def __init__(self, objects: Mapping[int, Any]) -> None:
        self._objects = objects
        self._kinds = {row: kind for kind, row in objects.items()}

    def encode(self, value: Any) -> bytes:
        """The bytes of a row."""
        if isinstance(value, np.ndarray):
            return _array(value)
        out = StateWriter()
        out.data += bytes((VERSION, self._kinds[type(value)]))
        value.write(out)
        return bytes(out.data)

    def decode(self, data: bytes) -> Any:
        """The row of these bytes; ValueError where they are not one."""
        if len(data) < 2 or data[0] not in {VERSION, *FORMER}:
            raise ValueError(f"not a row of the profiler's state, version {VERSION}: {data[:8]!r}")
        reader = StateReader(data, 2)
        former = FORMER.get(data[0], {}).get(data[1])
        value = former(reader) if former else self._read(data[1], reader)
        reader.end()
        return value

    def _read(self, kind: int, data: StateReader) -> Any:
        if kind == _ROW:
            return data.array_like(empty())
        if kind == _WEIGHTS:
            return read_weights(data)
        if kind not in self._objects:
            raise ValueError(f"a row of the profiler's state of unknown kind {kind}")
        return self._objects[kind].read(data)


def _array(values: Array) -> bytes:
    counts = values.dtype == COUNT
    kind, data = (_ROW, trimmed(values)) if counts else (_WEIGHTS, packed(values))
    if len(data) < 0x80:  # so are nearly all that are saved, several an event
        return bytes((VERSION, kind, len(data))) + data
    out = StateWriter()
    out.data += bytes((VERSION, kind))
    out.blob(data)
    return bytes(out.data)


_codec = StateCodec(OBJECTS)
encode, decode = _codec.encode, _codec.decode
