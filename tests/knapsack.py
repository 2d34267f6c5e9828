"""Small random pools, and how far the greedy choice is from the best."""

from __future__ import annotations

from random import Random

from scipy.optimize import Bounds, LinearConstraint, milp

from streams.allocator.packing import InstanceWant, PoolRoom, pack
from streams.allocator.valuation.catalog_index import share_of
from streams.records.catalog import Resources

CAPACITY = Resources(cpu=8, memory=8, bandwidth=8)


def random_wants(numbers: Random) -> list[InstanceWant]:
    wants = []
    for i in range(numbers.randint(6, 30)):
        cpu, memory, bandwidth = (numbers.uniform(0.2, 3.2) for _ in range(3))
        needs = Resources(cpu=cpu, memory=memory, bandwidth=bandwidth)
        wants.append(
            InstanceWant(
                parts=((f"s{i}", 1),),
                needs=needs,
                price=1.0,
                value=1.0 + numbers.expovariate(1.0),
                cost=1.0,
                share=share_of(needs, CAPACITY),
            )
        )
    return wants


def best(wants: list[InstanceWant]) -> float:
    """Net value of the best choice that fits, by an exact solver."""
    needs = [[getattr(w.needs, r) for w in wants] for r in ("cpu", "memory", "bandwidth")]
    solved = milp(
        [w.cost - w.value for w in wants],
        constraints=LinearConstraint(needs, ub=[8.0, 8.0, 8.0]),
        integrality=[1] * len(wants),
        bounds=Bounds(0, 1),
    )
    return -float(solved.fun)


def gaps_to_the_best(instances: int) -> list[float]:
    """How much of the best net value the greedy choice leaves, on small random pools."""
    numbers, gaps = Random(7), []
    for _ in range(instances):
        wants = random_wants(numbers)
        chosen = [
            c.want
            for c in pack(wants, PoolRoom(CAPACITY, 99.0), list, {}, lambda _: ())
            if c.granted
        ]
        gaps.append(1 - sum(w.value - w.cost for w in chosen) / best(wants))
    return gaps
