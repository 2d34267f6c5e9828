"""Probability that the k-th instance is used: tail probabilities of the number of requests."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

__all__ = ["Floats", "at_least", "used"]

LARGE = 100.0  # variance from which the normal approximation is closer than rounding errors
NEGLIGIBLE = 1e-6  # probabilities below this count as 0
SMALLEST = -700.0  # natural logarithm below which exp underflows

Floats = NDArray[np.float64]


def at_least(mean: ArrayLike, variance: ArrayLike, most: int) -> Floats:
    """P(N >= k) for k = 1..most, N the number of requests; a row per mean.

    N is Poisson-binomial: each user makes a request or does not. It is approximated by a binomial
    of the same mean and variance (Ehm, Statistics & Probability Letters 11, 1991), which is exact
    when all users are alike; by a Poisson distribution when each request is improbable; and by a
    normal distribution with continuity correction when the variance is large.

    Parameters
    ----------
    mean, variance
        Sums over users of p and of p (1 - p), shape (n,).
    """
    means = np.maximum(np.atleast_1d(np.asarray(mean, np.float64)), 0.0)
    variances = np.clip(np.atleast_1d(np.asarray(variance, np.float64)), 0.0, means)
    q = np.divide(variances, means, out=np.ones_like(means), where=means > 0.0)
    none = _log_none(means, q)
    large = (variances >= LARGE) | (none < SMALLEST)
    sure = ~large & (q < NEGLIGIBLE)
    rest = ~large & ~sure
    levels = np.arange(1, most + 1)
    result = np.zeros((len(means), most))
    result[sure] = np.clip(means[sure, None] - levels + 1, 0.0, 1.0)
    if large.any():
        spread = np.sqrt(np.maximum(variances[large], NEGLIGIBLE))
        result[large] = ndtr((means[large, None] - levels + 0.5) / spread[:, None])
    if rest.any():
        result[rest] = _binomial(means[rest], q[rest], none[rest], most)
    return result


def _log_none(mean: Floats, q: Floats) -> Floats:
    """Logarithm of P(N = 0) of the binomial."""
    p = 1.0 - q
    several = (p > NEGLIGIBLE) & (q > NEGLIGIBLE)
    trials = np.divide(mean, p, out=np.zeros_like(p), where=several)
    log_q = np.log(np.where(several, q, 1.0))
    return np.where(several, trials * log_q, -mean)


def _binomial(mean: Floats, q: Floats, log_none: Floats, most: int) -> Floats:
    """By hand: one recursion gives all levels, SciPy's `betainc` takes 3.8 times as long."""
    p = 1.0 - q
    poisson = p <= NEGLIGIBLE
    p, q = np.where(poisson, 1.0, p), np.where(poisson, 1.0, q)
    trials = np.where(poisson, np.inf, mean / p)
    enough = math.ceil(float(np.max(mean + 8 * np.sqrt(mean * q)))) + 8
    mass, tail = np.exp(log_none), np.ones_like(mean)
    result = np.zeros((len(mean), most))
    for k in range(1, min(most, enough) + 1):
        tail = np.maximum(0.0, tail - mass)
        result[:, k - 1] = tail
        left = np.where(poisson, mean, np.maximum(0.0, trials - k + 1) * p)
        mass = mass * left / (k * q)
    return result


def used(
    mean: Floats,
    variance: Floats,
    *,
    overlap: Floats,
    at_once: NDArray[np.int64],
    most: int,
    least: Floats | float = NEGLIGIBLE,
) -> tuple[Floats, Floats]:
    """P(the k-th instance is used within the horizon), and expected uses; a row per mean.

    Columns are k = 1, 2, ... up to the last one that is used at all, at most `most`.

    The first instance is used by any request. A further one is used when a request arrives while
    all before it are busy. Requests overlap when one arrives while another is served, so the number
    in service is the number of requests thinned by `overlap`, and a request finds it as it is
    at any time (Wolff, Operations Research 30(2), 1982: Poisson arrivals see time averages).
    That it reaches a level at least once follows by the Poisson clumping heuristic (Aldous,
    1989, section A1), and is no more likely than that many requests at all.

    Parameters
    ----------
    mean, variance, overlap, at_once, least
        Shape (n,). `overlap` is the share of the horizon that one request keeps an instance
        busy, at most 1; `at_once` the requests that one instance serves at the same time; a
        further instance used less often than `least` counts as not used, as do all after it.
    """
    first = at_least(mean, variance, 1)[:, 0]
    first[first < NEGLIGIBLE] = 0.0
    limit = np.maximum(np.broadcast_to(np.asarray(least, np.float64), mean.shape), NEGLIGIBLE)
    # By Markov's inequality no further one is used more often than this.
    at_most = mean * np.minimum(1.0, mean * overlap)
    deep = np.flatnonzero((first > 0.0) & (at_most >= limit)) if most > 1 else ()
    further = [
        (rows, *_further(mean[rows], variance[rows], overlap[rows], int(each), most))
        for each in (np.unique(at_once[deep]) if len(deep) else ())
        for rows in [deep[at_once[deep] == each]]
    ]
    width = 1 + max((found.shape[1] for _, found, _ in further), default=0)
    chance, uses = np.zeros((2, len(mean), width))
    chance[:, 0], uses[:, 0] = first, np.where(first > 0.0, mean, 0.0)
    for rows, *found in further:
        for into, columns in zip((chance, uses), found, strict=True):
            falling = np.minimum.accumulate(np.c_[into[rows, :1], columns], axis=1)
            into[rows, : falling.shape[1]] = falling
        seldom = uses[rows, 1:] < limit[rows, None]
        for into in (chance, uses):
            into[rows, 1:] = np.where(seldom, 0.0, into[rows, 1:])
    last = max(1, int(uses.any(axis=0).sum()))
    return chance[:, :last], uses[:, :last]


def _further(
    mean: Floats, variance: Floats, overlap: Floats, at_once: int, most: int
) -> tuple[Floats, Floats]:
    """As `used`, for the second, third, ... instance; as many columns as the deepest row can reach."""
    thin = mean * overlap
    thin_variance = overlap * (mean - overlap * (mean - variance))
    reach = np.minimum(mean + 6 * np.sqrt(variance) + 6, thin + 6 * np.sqrt(thin_variance) + 7)
    deepest = min((most - 1) * at_once + 1, max(at_once + 1, math.ceil(float(reach.max()))))
    levels = np.arange(at_once + 1, deepest + 1, at_once)
    many = at_least(mean, variance, deepest)[:, levels - 1]
    uses = mean[:, None] * at_least(thin, thin_variance, deepest)[:, levels - 2]
    return np.minimum(many, -np.expm1(-uses)), np.minimum(uses, mean[:, None] * many)
