"""The published protocol for the next event of a case: its folds, its scores, its methods.

Rama-Maneiro, Vidal & Lama (2023), Deep learning for predictive business process monitoring:
review and benchmark, IEEE Trans. Services Computing 16(1). Here the user is the case.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from streams.adapters.logs.columns import ColumnMapping
from streams.adapters.logs.request_log import RequestLog
from streams.errors import LogUnreadable
from streams.lab.models import spans
from streams.lab.models.contexts import KINDS, CaseContexts, contexts, numbered
from streams.lab.models.loglinear import LogLinear
from streams.models.next_request.vocabulary import ServiceVocabulary
from streams.records import Request

__all__ = [
    "DAY_MS",
    "FOLDS",
    "EncodedLog",
    "FoldScore",
    "Ints",
    "Methods",
    "events_learnt",
    "folds",
    "log_files",
    "log_of",
    "methods",
    "read",
    "score",
]

Ints = npt.NDArray[np.int64]
Methods = Mapping[str, Mapping[int, float]]  # method -> fold -> value

DAY_MS = 86_400_000
FOLDS = 5
END = 0  # the class of "the case ends here"
_COLUMNS = ColumnMapping(user="case", service="activity", time="ts", time_unit="s")
_SUFFIX = ".events.csv.gz"
_BATCH = 32
_PASSES_WHICH, _PASSES_WHEN = 3, 1  # chosen on validation parts


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedLog:
    """A log encoded for learning."""

    contexts: Ints  # events x kinds: numbers of the contexts after each event
    different: int  # number of distinct contexts
    labels: Ints  # the next activity of the case, or `END`
    gaps_ms: Ints  # time until it; 0 at the end
    case: Ints  # number of the case, in the order of the cases' names
    cases: int  # number of cases
    classes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldScore:
    """The scores of one fold."""

    accuracy: float  # share of prefixes whose next class was the most probable one
    mae_days: float  # mean absolute error of the time until the next event


def log_files(folder: Path, names: Collection[str] = ()) -> dict[str, Path]:
    """The logs in a folder by lower-case name, all or only those named.

    Raises
    ------
    LogUnreadable
        The folder holds no log, or not one of those named.
    """
    paths = {
        path.name.removesuffix(_SUFFIX).lower(): path for path in sorted(folder.glob(f"*{_SUFFIX}"))
    }
    if not paths:
        raise LogUnreadable(f"{folder} holds no *{_SUFFIX}: give the benchmark's folder")
    for name in names:
        if name.lower() not in paths:
            raise LogUnreadable(f"{folder} has no log {name!r}: it has {', '.join(paths)}")
    chosen = {name.lower() for name in names}
    return {name: path for name, path in paths.items() if not chosen or name in chosen}


def read(path: Path, limit: int | None = None) -> list[list[Request]]:
    """Read the cases of a log, by their names: at most `limit` of its rows."""
    by_case: defaultdict[str, list[Request]] = defaultdict(list)
    for item in islice(RequestLog(path, _COLUMNS), limit):
        if not isinstance(item, Request):
            raise LogUnreadable(f"{path}, line {item.line}: {item.reason}")
        by_case[item.user].append(item)
    if len(by_case) < 2 * FOLDS:
        raise LogUnreadable(f"{path}: {len(by_case)} cases are too few, give at least {2 * FOLDS}")
    return [by_case[case] for case in sorted(by_case)]


def log_of(cases: list[list[Request]]) -> EncodedLog:
    """Encode these cases, each in its order; an event's attributes are its parameters."""
    activities, attributes = ServiceVocabulary(), ServiceVocabulary()
    events = [event for case in cases for event in case]
    sizes = np.array([len(case) for case in cases], np.int64)
    ends = np.cumsum(sizes)
    numbers = np.array([1 + activities.number(event.service) for event in events], np.int64)
    at_ms = np.array([event.at_ms for event in events], np.int64)
    attribute_numbers = [
        attributes.number(repr(sorted(event.parameters.items()))) for event in events
    ]
    last = np.zeros(len(events), bool)
    last[ends - 1] = True
    context_numbers, different = numbered(
        contexts(
            CaseContexts(
                activities=numbers,
                attributes=1 + np.array(attribute_numbers, np.int64),
                at_ms=at_ms,
                first=np.repeat(ends - sizes, sizes),
            )
        )
    )
    return EncodedLog(
        contexts=context_numbers,
        different=different,
        labels=np.where(last, END, np.roll(numbers, -1)),
        gaps_ms=np.where(last, 0, np.maximum(np.roll(at_ms, -1) - at_ms, 0)),
        case=np.repeat(np.arange(len(cases)), sizes),
        cases=len(cases),
        classes=len(activities) + 1,
    )


def folds(cases: int) -> Iterator[tuple[Ints, Ints]]:
    """Cases to learn and cases to score, fold by fold.

    The folds are those of scikit-learn's ``KFold(5, shuffle=True, random_state=42)``. Of the
    cases not scored the first 80 % are learnt; the rest, for validation, is not used here.
    """
    order = np.arange(cases)
    np.random.RandomState(42).shuffle(order)  # as the published folds
    for part in np.array_split(order, FOLDS):
        others = np.setdiff1d(np.arange(cases), part)
        yield others[: int(len(others) * 0.8)], np.sort(part)


def events_learnt(log: EncodedLog, parts: Collection[tuple[Ints, Ints]]) -> int:
    """Number of events learnt when all these folds are scored; each counts in every pass.

    The models of a worker take a single one, with the end of each case as an event more.
    """
    sizes = np.bincount(log.case, minlength=log.cases)
    events = sum(int(sizes[learn].sum()) for learn, _ in parts)
    ends = sum(len(learn) for learn, _ in parts)
    return events * (_PASSES_WHICH + _PASSES_WHEN + 1) + ends


def score(
    log: EncodedLog, fold: tuple[Ints, Ints], advance: Callable[[int], None] = lambda _: None
) -> FoldScore:
    """Train the log-linear model on one part of a log, then score the other part.

    Parameters
    ----------
    log
        The log.
    fold
        Cases to learn and cases to score.
    advance
        Called with the number of events learnt since its last call.
    """
    learn, test = (np.flatnonzero(np.isin(log.case, cases)) for cases in fold)
    which = _trained(
        log, learn, log.labels, classes=log.classes, passes=_PASSES_WHICH, advance=advance
    )
    when = _trained(
        log,
        learn,
        spans.class_of(log.gaps_ms),
        classes=spans.CLASSES,
        passes=_PASSES_WHEN,
        advance=advance,
    )
    test_contexts = log.contexts[test]
    hits = which.predict_proba(test_contexts).argmax(1) == log.labels[test]
    errors_ms = np.abs(spans.median_ms(when.predict_proba(test_contexts)) - log.gaps_ms[test])
    return FoldScore(accuracy=float(hits.mean()), mae_days=float(errors_ms.mean()) / DAY_MS)


def _trained(
    log: EncodedLog,
    events: Ints,
    labels: Ints,
    *,
    classes: int,
    passes: int,
    advance: Callable[[int], None],
) -> LogLinear:
    model = LogLinear(kinds=KINDS, contexts=log.different, classes=classes)
    # The cases to score are from all times, so the latest events must not be learnt last.
    order = np.random.default_rng(1).permutation(events)
    for step in (model.learn, *[model.revise] * (passes - 1)):
        for at in range(0, len(order), _BATCH):
            chosen = order[at : at + _BATCH]
            step(log.contexts[chosen], labels[chosen])
            advance(len(chosen))
    return model


def methods(folder: Path) -> tuple[Mapping[str, Methods], Mapping[str, Methods]]:
    """Accuracy and next-timestamp error in days of every published method, by log and fold."""
    results = folder / "published"
    return (
        _results(results / "accuracy_raw_results.csv", "accuracy"),
        _results(results / "nt_mae_raw_results.csv", "nt_mae"),
    )


def _results(path: Path, column: str) -> dict[str, dict[str, dict[int, float]]]:
    results: dict[str, dict[str, dict[int, float]]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                folds_of = results.setdefault(row["log"], {}).setdefault(row["approach"], {})
                folds_of[int(row["fold"])] = float(row[column])
    except OSError as error:
        raise LogUnreadable(f"{path} cannot be read: {error.strerror or error}") from error
    except (KeyError, ValueError) as error:
        raise LogUnreadable(f"{path} is no table of results: {error}") from error
    return results
