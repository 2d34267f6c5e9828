"""Time spans as classes of half an octave, and the median of a distribution over them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["CLASSES", "class_of", "median_ms"]

_PARTS = 2  # classes in an octave
_OCTAVES = 27  # from a second to four years
CLASSES = 1 + _PARTS * _OCTAVES
_EDGES_MS = np.concatenate([[0.0], 1000 * 2 ** (np.arange(CLASSES) / _PARTS)])


def class_of(span_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The class of each span: 0 below a second, then half octaves; the last has no end."""
    octaves = np.log2(np.maximum(span_ms, 1000) / 1000)
    classes = np.minimum(1 + np.floor(_PARTS * octaves).astype(np.int64), CLASSES - 1)
    return np.where(span_ms < 1000, 0, classes)


def median_ms(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The median span of each distribution, which has the least expected absolute error.

    Parameters
    ----------
    probabilities
        n x `CLASSES`. Inside a class the logarithm of the span is taken as evenly spread; the
        first class counts as no time at all.

    Examples
    --------
    >>> certain = np.zeros((1, CLASSES))
    >>> certain[0, class_of(np.array([60_000]))] = 1
    >>> bool(45_000 < median_ms(certain)[0] < 65_000)
    True
    """
    cumulative = probabilities.cumsum(1)
    at = (cumulative >= cumulative[:, -1:] / 2).argmax(1)
    row = np.arange(len(at))
    inside = probabilities[row, at]
    fraction = 1 - (cumulative[row, at] - cumulative[:, -1] / 2) / np.maximum(inside, 1e-12)
    low, high = _EDGES_MS[np.maximum(at, 1)], _EDGES_MS[at + 1]
    spans: npt.NDArray[np.float64] = low * (high / low) ** np.clip(fraction, 0, 1)
    return np.where(at == 0, 0.0, spans)
