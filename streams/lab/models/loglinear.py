"""Predicts a class from many contexts: class counts of each, weighted by a log-linear model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["LogLinear"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_SMOOTH = np.float32(0.5)  # pseudo-visits of a context, spread over all classes
_LEVELS = 10  # levels of the number of visits to a context, in doublings
_FIRST_WEIGHT = 0.05
_WEIGHT_STEP = np.float32(0.02)
_BIAS_STEP = np.float32(0.01)
_PREDICT = 512  # events predicted at once, which bounds the memory


@dataclass(frozen=True, slots=True)
class _ScoredBatch:
    """The predictions of a batch, with their features."""

    rows: Ints  # events x contexts
    levels: Ints  # events x contexts: level of visits to each context
    logs: Floats  # events x contexts x classes
    probabilities: Floats  # events x classes


class LogLinear:
    """Predict a class from many contexts, learnt in mini-batches.

    Idea: each context has counts of the classes that came with it. Their log-probabilities are
    features of a log-linear model, with one weight for each kind of context and each level of
    visits (in doublings, and whether only one class ever came); so a context that was seen
    often, or always with the same class, weighs more. Each context also has a bias for each
    class, which corrects errors of the counts taken together. Weights and biases are learnt by
    AdaGrad on the log-loss.

    Guarantees: log-loss is convex in weights and biases; predicting changes nothing; a batch is
    predicted before it is counted. The state is two numbers for each context and class.

    Parameters
    ----------
    kinds
        Number of contexts per event.
    contexts
        Number of distinct contexts, of all kinds.
    classes
        Number of classes.

    Examples
    --------
    >>> model = LogLinear(kinds=2, contexts=3, classes=3)
    >>> seen = np.array([[0, 2], [1, 2]] * 20)
    >>> for _ in range(5):
    ...     model.learn(seen, np.array([1, 2] * 20))
    >>> model.predict_proba(seen[:2]).argmax(1).tolist()
    [1, 2]

    References
    ----------
    Mattern (2012), Mixing strategies in data compression, DCC: mixing as gradient descent in
    the logistic domain. Duchi, Hazan & Singer (2011), Adaptive subgradient methods, JMLR 12.
    Mikolov et al. (2011), Strategies for training large scale neural network language models,
    ASRU, section 4: hashed maximum-entropy biases.
    """

    def __init__(self, *, kinds: int, contexts: int, classes: int) -> None:
        self.kinds = kinds
        self.classes = classes
        self._counts: Floats = np.zeros((contexts, classes), np.float32)
        self._biases: Floats = np.zeros((contexts, classes), np.float32)
        self._bias_squares: Floats = np.ones(contexts, np.float32)
        shape = (kinds, 2 * _LEVELS)
        self._weights: Floats = np.full(shape, _FIRST_WEIGHT, np.float32)
        self._weight_squares: Floats = np.ones(shape, np.float32)

    def predict_proba(self, contexts: Ints) -> Floats:
        """Probability of each class.

        Parameters
        ----------
        contexts
            Numbers of the contexts, events x kinds.

        Returns
        -------
        Events x classes; each row sums to 1.
        """
        starts = range(0, len(contexts), _PREDICT)
        parts = [self._score(contexts[at : at + _PREDICT]).probabilities for at in starts]
        return np.concatenate(parts) if parts else np.zeros((0, self.classes), np.float32)

    def learn(self, contexts: Ints, labels: Ints) -> None:
        """Learn a mini-batch: predict it, take a gradient step, then count it.

        Parameters
        ----------
        contexts
            Numbers of the contexts, events x kinds.
        labels
            The class of each event.
        """
        self._step(self._score(contexts), labels)
        cells = (contexts * self.classes + labels[:, None]).ravel()
        np.add.at(self._counts.reshape(-1), cells, np.float32(1))

    def revise(self, contexts: Ints, labels: Ints) -> None:
        """Take another gradient step on events learnt before, without their own counts.

        The first steps were taken while most contexts were new; these are taken with counts like
        those of later predictions.
        """
        self._step(self._score(contexts, labels), labels)

    def _score(self, rows: Ints, without: Ints | None = None) -> _ScoredBatch:
        counts = self._counts[rows]
        if without is not None:
            counts[np.arange(len(rows)), :, without] -= 1
        visits = counts.sum(2)
        doublings = np.minimum(np.log2(1 + visits), _LEVELS - 1).astype(np.int64)
        single = (counts.max(2) == visits) & (visits > 0)
        levels = 2 * doublings + single
        counts += _SMOOTH / self.classes
        logs = np.log(counts, out=counts)
        logs -= np.log(visits + _SMOOTH)[:, :, None]
        weights = self._weights[np.arange(self.kinds), levels]
        scores = np.matmul(weights[:, None, :], logs)[:, 0] + self._biases[rows].sum(1)
        scores -= scores.max(1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(1, keepdims=True)
        return _ScoredBatch(rows, levels, logs, scores)

    def _step(self, scored: _ScoredBatch, labels: Ints) -> None:
        batch = np.arange(len(labels))
        logs, rows = scored.logs, scored.rows
        expected = np.matmul(logs, scored.probabilities[:, :, None])[:, :, 0]
        slopes = logs[batch, :, labels] - expected
        gradient = np.zeros_like(self._weights)
        np.add.at(gradient, (np.arange(self.kinds), scored.levels), slopes)
        self._weight_squares += gradient * gradient
        self._weights += _WEIGHT_STEP * gradient / np.sqrt(self._weight_squares)
        errors = -scored.probabilities
        errors[batch, labels] += 1
        flat = rows.ravel()
        squares = np.repeat((errors * errors).sum(1), self.kinds)
        np.add.at(self._bias_squares, flat, squares)
        steps = (_BIAS_STEP / np.sqrt(self._bias_squares[rows]))[:, :, None] * errors[:, None, :]
        cells = flat[:, None] * self.classes + np.arange(self.classes)
        np.add.at(self._biases.reshape(-1), cells.ravel(), steps.ravel())
