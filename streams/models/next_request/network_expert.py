"""The recurrent network beside the mixture: one more expert, with state of its own."""

from __future__ import annotations

from typing import Self

import numpy as np

from streams.models.kernels import Records, Table
from streams.models.next_request.joined import (
    JOINT,
    Joined,
    follow_and_join,
    follow_and_join_all,
    learn_joined,
    room_for,
)
from streams.models.next_request.state_keys import NETWORK, State
from streams.models.next_request.user_profile import UserProfile
from streams.models.recurrent.network import (
    ROWS,
    SERVICE,
    UNIT,
    NetworkWeights,
    first_services,
    first_unit,
    gap_of,
    row_of,
)
from streams.models.state_bytes import StateReader, StateWriter

__all__ = ["NetworkExpert", "NetworkState"]

_MORE = 16  # rows of services by which the network grows


class NetworkState:
    """The network that all users share, and its weight in the prediction: one row of the state.

    Guarantees: under 165 KB, however many users and services there are; what is read back goes on
    exactly as what was written.
    """

    __slots__ = ("joint", "weights")

    def __init__(self) -> None:
        self.weights = NetworkWeights(first_unit(), first_services(0, _MORE))
        self.joint: Records = np.zeros(1, JOINT)
        self.joint["everywhere"]["mixture"] = 1.0  # at first the mixture stands alone

    def make_room(self, known: int) -> None:
        """Grow until so many services can be looked up."""
        held = len(self.weights.services)
        if known and row_of(known - 1) >= held and held < ROWS:
            more = first_services(held, min(_MORE, ROWS - held))
            grown = np.concatenate([self.weights.services, more])
            self.weights = self.weights._replace(services=grown)
            self.make_room(known)

    def write(self, out: StateWriter) -> None:
        """Append this row."""
        for array in (*self.weights, self.joint):
            out.array(array)

    @classmethod
    def read(cls, data: StateReader, joint: Records | None = None) -> Self:
        """The row that `write` appended.

        Parameters
        ----------
        joint
            Has the form of the weights, where that is another than now.
        """
        row = cls()
        unit = data.array_like(np.zeros(1, UNIT))
        row.weights = NetworkWeights(unit, data.array_like(np.zeros(0, SERVICE)))
        row.joint = data.array_like(row.joint if joint is None else joint)
        return row


class NetworkExpert:
    """Predict by the mixture and one recurrent network of all users together.

    Idea: a gated recurrent unit follows each user's services and the gaps before them. Its hidden
    state gives services a probability of its own, which is multiplied with the mixture's, each to
    the power of a weight, in sets chosen by the mixture's contexts; and it adds to the result what
    it has learnt that both lack. All is learnt at each request by one gradient step through the
    user's last requests, shorter the more its row was moved before.

    Guarantees: it begins as the mixture alone, and leaves what the mixture learns as it is; a user
    costs 80 bytes.

    References
    ----------
    Cho et al. (2014), Learning phrase representations using RNN encoder-decoder, EMNLP: the unit.
    Duchi, Hazan & Singer (2011), Adaptive subgradient methods for online learning, JMLR 12: the
    steps, here with one sum for a row as in Naumov et al. (2019), arXiv:1906.00091. Mattern (2012),
    Mixing strategies in data compression, DCC: the weights.
    """

    def predict(
        self,
        state: State,
        profile: UserProfile,
        known: int,
        candidates: Records,
        table: Records,
        forecast: Records,
    ) -> Joined:
        """The joint prediction, given that of the mixture.

        Parameters
        ----------
        known
            Number of services.
        candidates, table, forecast
            As in a prediction of the mixture.
        """
        network = _network(state, known)
        joined = room_for(table.shape[1])
        follow_and_join(
            network.weights, network.joint, profile.trail, candidates, table[0], forecast, *joined
        )
        return joined

    def predict_all(
        self,
        state: State,
        profile: UserProfile,
        known: int,
        candidates: Records,
        phases: Table,
        chances: Table,
        forecast: Records,
    ) -> Joined:
        """The joint prediction over all phases of a silence.

        Parameters
        ----------
        known
            Number of services.
        phases
            The mixture's predictions, phases x columns, which become the joint ones.
        chances
            Probability of each phase.
        candidates, forecast
            As in a prediction of the mixture.
        """
        network, joined = _network(state, known), room_for(phases.shape[1])
        follow_and_join_all(
            network.weights, network.joint, profile.trail, candidates, phases, chances, forecast,
            *joined,
        )  # fmt: skip
        return joined

    def learn(
        self,
        state: State,
        profile: UserProfile,
        item: int,
        column: int,
        gap_ms: int,
        candidates: Records,
        joined: Joined,
    ) -> None:
        """Learn the request that came after a joint prediction; `profile` is to be assigned.

        Parameters
        ----------
        item, column
            Number of the service, and its column in the prediction.
        gap_ms
            Time since the user's last request; below 0 without one.
        """
        network = _network(state, item + 1)
        learn_joined(
            network.weights, network.joint, profile.trail, candidates, *joined,
            column, row_of(item), gap_of(gap_ms),
        )  # fmt: skip
        state[NETWORK] = network


def _network(state: State, known: int) -> NetworkState:
    network: NetworkState = state.get(NETWORK) or NetworkState()
    network.make_room(known)
    return network
