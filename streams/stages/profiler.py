"""Stage "profiler": predicts each user's next composite and its time, and learns from requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

from streams.models.next_request import state_codec as rows
from streams.models.next_request.lookahead import expected_within
from streams.models.next_request.mixture import MixtureConfig, NextRequestMixture
from streams.records import Prediction, Record, Request, ServiceProbability, Watermark
from streams.stages.base import EventDriven, RecordUnusable, StepContext, admit

__all__ = ["ProfilerStage"]

_MODEL, _WITH_NETWORK = "mixture/6", "mixture+rnn/2"
# The constructor of a named tuple is Python code, and a vector has an entry per composite.
_entry: Callable[[tuple[str, float, float, float, float, float]], ServiceProbability] = partial(
    tuple.__new__, ServiceProbability
)
MOST_BYTES = 16 * 1024  # of the names in a vector: each request has one made
_SOON_MS = 60_000  # what `soon` of a vector refers to
_QUIET = 4  # a vector expires after this multiple of the 90 % gap, or of the horizon


class ProfilerStage(EventDriven):
    """Requests in, prediction vectors out; each request is also the outcome of the vector before.

    Parameters
    ----------
    horizon_ms
        What `within` of the predictions refers to.
    config
        Parameters of the mixture.
    """

    name = "profiler"

    def __init__(self, horizon_ms: int = 60_000, config: MixtureConfig | None = None) -> None:
        self.horizon_ms = horizon_ms
        self.mixture = NextRequestMixture(config)
        self.model = _WITH_NETWORK if self.mixture.config.rnn else _MODEL

    def step(
        self, event: Record, state: MutableMapping[str, Any], context: StepContext
    ) -> Iterable[Record]:
        """Learn a request and predict the user's next one.

        A request that comes again changes nothing.
        """
        match event:
            case Request():
                request = admit(event, context)
                new = self.mixture.learn(
                    state,
                    request.user,
                    request.service,
                    at_ms=request.at_ms,
                    request_id=request.request_id,
                    parameters=request.parameters,
                )
                return [self.predict(request, state)] if new else []
            case Watermark():
                return []
            case _:
                raise RecordUnusable(f"{type(event).__name__} is nothing the profiler learns from")

    def predict(self, request: Request, state: MutableMapping[str, Any]) -> Prediction:
        """The user's vector as it stands after `request`.

        What may come two or three requests later is in `within` and `soon`, as far as that is soon
        enough.

        With more services than `MixtureConfig.most`, or names longer than `MOST_BYTES` together, it
        lists those with most evidence and counts the mass of all others in `unseen`.
        """
        mixture = self.mixture
        profile = mixture.profile(state, request.user)
        vector = mixture.prediction(state, profile)
        ahead = expected_within(mixture, state, profile, vector, _SOON_MS)
        within = ahead.within
        if self.horizon_ms != _SOON_MS:
            within = expected_within(mixture, state, profile, vector, self.horizon_ms).within
        names = mixture.names(state, vector)
        chances = vector.chances[: len(names)].tolist()
        _, later, another_day = vector.given[:, : len(names)].tolist()
        # Not numpy's sort: it releases the interpreter lock, which wakes every waiting thread.
        order = _fitting(sorted(range(len(names)), key=chances.__getitem__, reverse=True), names)
        rows = (names, chances, within, ahead.within, later, another_day)
        columns = [map(row.__getitem__, order) for row in rows]
        left_out = set(range(len(names))) - set(order) if len(order) < len(names) else ()
        return Prediction(
            request_id=request.request_id,
            user=request.user,
            services=tuple(map(_entry, zip(*columns, strict=True))),
            unseen=max(0.0, 1.0 - sum(chances) + sum(map(chances.__getitem__, left_out))),
            horizon_ms=self.horizon_ms,
            expected_ms=ahead.expected_ms,
            soon=ahead.soon,
            made_ms=request.at_ms,
            expires_ms=request.at_ms + _QUIET * max(ahead.expected_ms[2], self.horizon_ms),
            model=self.model,
            tier=request.tier,
            pool=request.pool,
            asked=request.service,
        )

    # The versioned bytes of a state row, and back; ValueError if they cannot be read.
    encode = staticmethod(rows.encode)
    decode = staticmethod(rows.decode)


def _fitting(order: list[int], names: Sequence[str]) -> list[int]:
    """As many of these as have room for their names."""
    if len("".join(names).encode()) <= MOST_BYTES:
        return order
    ends = accumulate(len(names[i].encode()) for i in order)
    return [i for i, end in zip(order, ends, strict=True) if end <= MOST_BYTES]
