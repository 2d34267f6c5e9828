"""The published protocol with the models that a worker runs, which learn event by event.

Cases are learnt in order of time, as a worker meets them, each event once. A case that is scored
is learnt as it goes on, since that is all a worker knows of its user, and forgotten after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

from streams.lab.evaluate.published import DAY_MS, FoldScore, Ints
from streams.models.next_request import state_codec as rows
from streams.models.next_request.mixture import MixtureConfig, NextRequestMixture
from streams.records import Request

__all__ = ["OnlineScores", "SavedState", "score_online"]

Case = Sequence[Request]

_END = "\x00end"  # the service that stands for "the case ends here"
_SOON_MS = 60_000  # any horizon: the quantiles of the gap do not depend on it


class OnlineScores(NamedTuple):
    """Scores of the models that a worker runs."""

    alone: FoldScore  # without the recurrent network
    network: FoldScore


class SavedState(MutableMapping[str, Any]):
    """A state that begins as it was saved; what is changed stays in it alone.

    Parameters
    ----------
    saved
        The bytes of each row, read when it is first asked for.
    """

    def __init__(self, saved: Mapping[str, bytes]) -> None:
        self._saved = saved
        self._rows: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        if key not in self._rows:
            self._rows[key] = rows.decode(self._saved[key])
        return self._rows[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._rows[key] = value

    def __delitem__(self, key: str) -> None:
        raise NotImplementedError("the models delete no row")

    def __iter__(self) -> Iterator[str]:
        return iter(self._saved.keys() | self._rows.keys())

    def __len__(self) -> int:
        return len(self._saved.keys() | self._rows.keys())


def score_online(
    cases: Sequence[Case], fold: tuple[Ints, Ints], advance: Callable[[int], None] = lambda _: None
) -> OnlineScores:
    """Learn the one part of the cases, then score the other part without keeping it.

    Parameters
    ----------
    cases
        The events of each case.
    fold
        Cases to learn and cases to score.
    advance
        Called with the number of events learnt since its last call.
    """
    mixture, state = NextRequestMixture(MixtureConfig(rnn=True)), dict[str, Any]()
    learn, test = ([_ended(cases[case]) for case in part] for part in fold)
    for done, event in enumerate(_by_time(learn)):
        _learn(mixture, state, event, done)
        advance(1)
    saved = {key: rows.encode(row) for key, row in state.items()}
    scored = [found for case in test for found in _scored(mixture, SavedState(saved), case)]
    alone, network, errors_ms = zip(*scored, strict=True)
    mae_days = sum(errors_ms) / len(scored) / DAY_MS
    return OnlineScores(
        *(FoldScore(accuracy=sum(h) / len(h), mae_days=mae_days) for h in (alone, network))
    )


def _scored(
    mixture: NextRequestMixture, state: SavedState, case: Case
) -> Iterator[tuple[bool, bool, int]]:
    """Of each event of a case whether the next one was the most probable, and its error in ms.

    First without the recurrent network, then with it.
    """
    for done, (event, following) in enumerate(pairwise(case)):
        _learn(mixture, state, event, done)
        profile = mixture.profile(state, event.user)
        prediction = mixture.prediction(state, profile)
        names = mixture.names(state, prediction)
        tops = (row[: len(names)].argmax() for row in (prediction.table[0], prediction.chances))
        alone, network = (names[top] == following.service for top in tops)
        _, median_ms, _ = mixture.outlook(state, profile, _SOON_MS).expected_ms
        gap_ms = max(0, following.at_ms - event.at_ms)
        yield alone, network, abs(median_ms - gap_ms)


def _learn(
    mixture: NextRequestMixture, state: MutableMapping[str, Any], event: Request, number: int
) -> None:
    mixture.learn(
        state,
        event.user,
        event.service,
        at_ms=event.at_ms,
        request_id=str(number),
        parameters=event.parameters,
    )


def _ended(case: Case) -> Case:
    return [*case, replace(case[-1], service=_END, parameters={})]


def _by_time(cases: Sequence[Case]) -> list[Request]:
    """All events in order of time; those of one case stay in their order."""
    return sorted((event for case in cases for event in case), key=lambda event: event.at_ms)
