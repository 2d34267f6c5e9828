"""How likely the k-th instance is used: tails of the number of requests from many users."""

from __future__ import annotations

import math

__all__ = ["at_least", "used"]

LARGE = 100.0  # variance from which the normal approximation is closer than rounding errors
NEGLIGIBLE = 1e-6  # probability below which a further instance is not looked at


def at_least(mean: float, variance: float, most: int) -> list[float]:
    """P(N >= k) for k = 1..most, N the number of requests.

    N is Poisson-binomial: each user asks or does not. A binomial of the same mean and variance
    stands for it (Ehm, Statistics & Probability Letters 11, 1991), exact when all users are
    alike, and Poisson when each is improbable; the normal law with continuity correction when
    the variance is large.

    Parameters
    ----------
    mean, variance
        Sums over users of p and of p (1 - p).
    """
    if mean <= 0.0:
        return [0.0] * most
    variance = min(max(variance, 0.0), mean)
    if variance >= LARGE:
        scale = math.sqrt(2 * variance)
        return [0.5 * math.erfc((k - 0.5 - mean) / scale) for k in range(1, most + 1)]
    q = variance / mean
    if q < NEGLIGIBLE:
        return [min(1.0, max(0.0, mean - k + 1)) for k in range(1, most + 1)]
    return _binomial(mean, q, most)


def _binomial(mean: float, q: float, most: int) -> list[float]:
    p = 1.0 - q
    trials = mean / p if p > NEGLIGIBLE else math.inf
    mass = math.exp(trials * math.log(q)) if p > NEGLIGIBLE else math.exp(-mean)
    tail, tails = 1.0, []
    for k in range(1, most + 1):
        tail = max(0.0, tail - mass)
        tails.append(tail)
        left = (trials - k + 1) * p if p > NEGLIGIBLE else mean
        mass *= max(0.0, left) / (k * q if p > NEGLIGIBLE else k)
    return tails


def used(
    mean: float,
    variance: float,
    *,
    overlap: float,
    at_once: int,
    most: int,
    least: float = NEGLIGIBLE,
) -> list[float]:
    """P(the k-th instance is used within the horizon) for k = 1..most.

    The first is used when anybody asks. A further one is used when somebody asks while all
    before it are busy: requests overlap when one comes while another is served, so the number
    in service is the number of requests thinned by `overlap`; that it reaches a level at least
    once follows by the Poisson clumping heuristic (Aldous, 1989, section A1), and is no more
    likely than that many requests at all.

    Parameters
    ----------
    overlap
        Share of the horizon that one request keeps an instance busy, at most 1.
    at_once
        Requests that one instance serves at the same time.
    least
        The list ends before the first further one that is less likely.
    """
    first = at_least(mean, variance, 1)
    if first[0] < NEGLIGIBLE:
        return []
    least = max(least, NEGLIGIBLE)
    thin_mean, thin_variance = mean * overlap, overlap * (mean - overlap * (mean - variance))
    if most == 1 or -math.expm1(-mean * min(1.0, thin_mean)) < least:
        return first  # by Markov's inequality no further one is likelier than that
    deepest = min(
        (most - 1) * at_once + 1,
        math.ceil(mean + 6 * math.sqrt(variance) + 6),
        math.ceil(thin_mean + 6 * math.sqrt(thin_variance) + 7),
    )
    many = at_least(mean, variance, deepest)
    result = first
    busy = at_least(thin_mean, thin_variance, deepest)
    for level in range(at_once + 1, deepest + 1, at_once):
        reached = -math.expm1(-mean * busy[level - 2])
        chance = min(many[level - 1], reached, result[-1])
        if chance < least:
            break
        result.append(chance)
    return result
