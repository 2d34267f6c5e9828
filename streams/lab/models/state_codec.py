"""The versioned bytes of state rows, those of the recurrent network among them."""

from __future__ import annotations

from streams.lab.models.network import Memory, Network, PoolWeights
from streams.models.next_request.state_codec import OBJECTS, StateCodec

__all__ = ["decode", "encode"]

_codec = StateCodec({**OBJECTS, 7: Network, 8: Memory, 9: PoolWeights})
encode, decode = _codec.encode, _codec.decode
