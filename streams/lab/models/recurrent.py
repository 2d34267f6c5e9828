"""One recurrent network for all users, learnt online, with a hidden state per user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.lab.models.gru import OptimiserState, SegmentBatch, chances, follow, train
from streams.lab.models.network import (
    RING,
    ROWS,
    STEPS,
    UNSEEN,
    WIDTH,
    NetworkState,
    UserMemory,
    gap_of,
    row_of,
)
from streams.models.kernels import Records, Table
from streams.models.next_request.state_keys import State

__all__ = ["RecurrentConfig", "RecurrentModel"]

_NETWORK = "\x00rnn"
_GOLDEN = (5**0.5 - 1) / 2  # the fractional parts of its multiples are spread most evenly


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentConfig:
    """Parameters of the network: one set for all traces, chosen on the first 30 % of three."""

    every: int = 8  # requests between two mini-batches, in the long run
    early: int = 64  # requests after which their distance grows by one: the first teach most
    batch: int = 8  # segments of a mini-batch, half of them the latest
    work: int = 4_096  # most rows of services times segments of a mini-batch
    rate: float = 0.003  # learning rate of Adam
    seed: int = 0


class RecurrentModel:
    """Predict each user's next service by a gated recurrent unit with a hidden state per user.

    Idea: the inputs of the unit are each requested service and the gap before it; a service's
    probability follows from the inner product of the hidden state with the service's embedding,
    which is its input vector too. Requests are kept in a ring of short segments, each with the
    hidden state before it; mini-batches of the latest segments and of others from the whole ring
    are learnt by back-propagation through the segment, with Adam.

    Guarantees: predicting changes nothing; the same requests and seed make the same network. A
    user costs under 80 bytes, the network under 1 MB however many users and services there
    are: services beyond 768 share 240 rows.

    Parameters
    ----------
    config
        The parameters.

    References
    ----------
    Cho et al. (2014), Learning phrase representations using RNN encoder-decoder, EMNLP: the
    unit. Hidasi et al. (2016), Session-based recommendations with recurrent neural networks,
    ICLR: its use for the next item. Press & Wolf (2017), Using the output embedding to improve
    language models, EACL: one vector for input and output. Kapturowski et al. (2019), Recurrent
    experience replay in distributed reinforcement learning, ICLR: segments with stored states.
    Kingma & Ba (2015), Adam, ICLR.
    """

    def __init__(self, config: RecurrentConfig | None = None) -> None:
        self.config = config or RecurrentConfig()

    def predict(self, state: State, user: str, candidates: Records, known: int) -> Table:
        """Probability of each candidate, of all others, and of the unseen.

        Parameters
        ----------
        candidates
            Services by column, as in a prediction of the mixture.
        known
            Number of services.
        """
        row = np.empty(len(candidates) + 2)
        network, memory = self._network(state), _memory(state, user)
        hidden = memory.hidden.astype(np.float32)
        chances(network.theta, hidden, network.rows, candidates, known, row)
        return row

    def learn(self, state: State, user: str, item: int, *, new: bool, gap_ms: int) -> None:
        """Learn that a user requested a service.

        Parameters
        ----------
        item
            Number of the service.
        new
            Whether nobody requested it before.
        gap_ms
            Time since the user's last request; below 0 without one.
        """
        network, memory = self._network(state), _memory(state, user)
        row = row_of(item)
        network.make_room(min(item + 2, ROWS))
        _record(network, memory, row, gap_of(gap_ms), UNSEEN if new else row)
        after = np.empty(WIDTH, np.float32)
        follow(network.theta, memory.hidden.astype(np.float32), row, gap_of(gap_ms), after)
        memory.hidden = after.astype(np.float16)
        network.events += 1
        if network.events % self._every(network) == 0:
            self._step(network)
        state[f"h/{user}"] = memory
        state[_NETWORK] = network

    def _every(self, network: NetworkState) -> int:
        return min(1 + network.events // self.config.early, self.config.every)

    def _step(self, network: NetworkState) -> None:
        chosen = self._drawn(network)
        if not len(chosen):
            return
        network.steps += 1
        state = OptimiserState(network.theta, network.first, network.second)
        batch = SegmentBatch(
            network.starts[chosen].astype(np.float32),
            network.segments[chosen],
            network.sizes[chosen].astype(np.int64),
        )
        train(state, batch, network.rows, self.config.rate, float(network.steps))

    def _drawn(self, network: NetworkState) -> npt.NDArray[np.int64]:
        """Places of the latest segments, and of as many others from the whole ring."""
        config = self.config
        size = max(min(config.batch, config.work // network.rows), 2)
        latest = sorted(set(network.touched))[-(size // 2) :]
        network.touched = []
        places = (np.arange(size - len(latest)) + network.steps * size) * _GOLDEN % 1.0
        ages = (places * min(network.opened, RING)).astype(np.int64)
        drawn = np.concatenate([np.array(latest, np.int64), (network.opened - ages) % RING])
        chosen: npt.NDArray[np.int64] = drawn[network.sizes[drawn] > 0]
        return chosen

    def _network(self, state: State) -> NetworkState:
        network: NetworkState | None = state.get(_NETWORK)
        return NetworkState(self.config.seed) if network is None else network


def _memory(state: State, user: str) -> UserMemory:
    memory: Any = state.get(f"h/{user}")
    return UserMemory() if memory is None else memory


def _record(network: NetworkState, memory: UserMemory, row: int, gap: int, target: int) -> None:
    """Add a target to the user's segment, then continue that segment or open a new one."""
    at = memory.segment % RING
    if memory.segment and memory.segment > network.opened - RING:
        size = int(network.sizes[at])
        network.segments["targets"][at, size] = target
        network.sizes[at] = size + 1
        network.touched.append(at)
        if size + 1 < STEPS:
            network.segments["inputs"][at, size + 1] = row
            network.segments["gaps"][at, size + 1] = gap
            return
    network.opened += 1
    memory.segment = network.opened
    at = memory.segment % RING
    network.starts[at] = memory.hidden
    network.segments["inputs"][at, 0], network.segments["gaps"][at, 0] = row, gap
    network.sizes[at] = 0
