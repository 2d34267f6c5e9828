"""The versioned bytes of state rows, including those of the recurrent network."""

from __future__ import annotations

from streams.lab.models.ensemble import EnsembleWeights
from streams.lab.models.network import NetworkState, UserMemory
from streams.models.next_request.state_codec import OBJECTS, StateCodec

__all__ = ["decode", "encode"]

_codec = StateCodec({**OBJECTS, 7: NetworkState, 8: UserMemory, 9: EnsembleWeights})
encode, decode = _codec.encode, _codec.decode
