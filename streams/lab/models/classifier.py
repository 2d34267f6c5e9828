"""The mixture, or one member of it, as a River classifier."""

from __future__ import annotations

from typing import Any

from river.base import Classifier

from streams.lab.models.ensemble import NAMES, ROWS, Pool
from streams.models.next_request.experts import MEMBERS
from streams.models.next_request.mixture import Config, Mixture
from streams.models.next_request.population import State

__all__ = ["MODELS", "NextService"]

MODELS = ("mixture", *MEMBERS, *NAMES)


class NextService(Classifier):
    """Predicts which service a user asks for next.

    Idea: River's interface to what the profiler does: features name the user and the time, and
    may have parameters; the label is the service. Learning applies the feedback at once.

    Guarantees: predicting changes nothing; probabilities of services known and of "", which
    stands for all not listed, sum to 1.

    Parameters
    ----------
    model
        One of `MODELS`: the mixture, a single member of it, the recurrent network, or mixture
        and network together.
    config
        Parameters of the mixture.

    Examples
    --------
    >>> model = NextService("user-2")
    >>> for n, service in enumerate(["order", "pay", "receipt"] * 9):
    ...     model.learn_one({"user": "ann", "at_ms": n * 1000}, service)
    >>> model.predict_one({"user": "ann"})
    'order'

    References
    ----------
    Montiel et al. (2021), River: machine learning for streaming data in Python, JMLR 22(110).
    """

    def __init__(self, model: str = "mixture", config: Config | None = None) -> None:
        if model not in MODELS:
            raise ValueError(f"model is {model!r}, not one of {', '.join(MODELS)}")
        self.model = model
        self.config = config or Config()
        self._mixture = Mixture(self.config)
        self._pool = Pool(self._mixture) if model in NAMES else None
        self._learnt = 0
        self.state: State = {}

    def predict_proba_one(self, x: dict[Any, Any], **kwargs: Any) -> dict[Any, float]:
        """Probability of each service for the user `x["user"]`, and of "" for all others."""
        del kwargs
        user = str(x["user"])
        view = self._mixture.view(self.state, self._mixture.profile(self.state, user))
        if self._pool is None:
            row = view.table[MODELS.index(self.model)]
        else:
            opinion = self._pool.predict(self.state, user, view)
            row = opinion.table[ROWS[NAMES.index(self.model)]]
        values = (row / row.sum()).tolist()
        names = self._mixture.names(self.state, view)
        return {**dict(zip(names, values, strict=False)), "": values[-2] + values[-1]}

    def predict_one(self, x: dict[Any, Any], **kwargs: Any) -> str | None:
        """The most probable service; None when none is known."""
        found = self.predict_proba_one(x, **kwargs)
        del found[""]
        return max(found, key=lambda service: found[service], default=None)

    def learn_one(self, x: dict[Any, Any], y: Any) -> None:
        """Take in that `x["user"]` asked for `y` at `x["at_ms"]`, 0 when there is no clock.

        `x["parameters"]` may hold how it was asked for, text by name.
        """
        user, request_id = str(x["user"]), str(self._learnt)
        self._learnt += 1
        at_ms = int(x.get("at_ms", 0))
        if self._pool is not None:
            view = self._mixture.view(self.state, self._mixture.profile(self.state, user))
            self._pool.learn(self.state, user, str(y), at_ms, view)
        self._mixture.learn(
            self.state,
            user,
            str(y),
            at_ms=at_ms,
            request_id=request_id,
            parameters=x.get("parameters"),
        )
        self._mixture.feedback(self.state, user, request_id)
