"""How long a decision takes for a large pool, and how far the greedy choice is from the best."""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random
from statistics import mean, median

import pytest
from knapsack import gaps_to_the_best

from streams.allocator.stage import AllocatorStage
from streams.records import Action, Command, Demand, Instance, InstanceState, ServiceDemand
from streams.records.catalog import Catalog, Composite, Constituent, Pool, Resources, Tier
from streams.stages.base import StepContext

CONSTITUENTS, USERS, PARTITIONS, TICKS = 1_000, 1_000_000, 8, 20
TIERS = (("gold", 0.01, 0.1), ("silver", 0.004, 0.3), ("bronze", 0.001, 0.6))


def catalog_of(numbers: Random) -> Catalog:
    names = [f"part-{i}" for i in range(CONSTITUENTS)]
    parts = [
        Constituent(
            service=name,
            needs=Resources(
                cpu=numbers.choice([250, 500, 1_000]),
                memory=numbers.choice([256, 512, 2_048]),
                bandwidth=numbers.choice([1, 5, 20]),
            ),
            warm_up_ms=numbers.randint(500, 30_000),
            price=numbers.uniform(0.01, 0.2),
        )
        for name in names
    ]
    composites = [
        Composite(
            service=f"service-{i}",
            steps=tuple(
                tuple(numbers.sample(names, numbers.randint(1, 3)))
                for _ in range(numbers.randint(1, 2))
            ),
        )
        for i in range(CONSTITUENTS)
    ]
    tiers = [
        Tier(tier=name, weight=weight, sla_ms=500, priority=len(TIERS) - i)
        for i, (name, weight, _) in enumerate(TIERS)
    ]
    # Room for about half of what would pay.
    capacity = Resources(cpu=400_000, memory=600_000, bandwidth=6_000)
    return Catalog.of([*parts, *composites, *tiers, Pool(pool="p", capacity=capacity)])


def demands(numbers: Random, at_ms: int) -> Iterator[Demand]:
    """What users ask who come every eight minutes: services by Zipf's law, new at each tick."""
    for partition in range(PARTITIONS):
        services = [
            ServiceDemand(service=f"service-{i}", tier=tier, expected=mean)
            for i in range(CONSTITUENTS)
            for tier, _, share in TIERS
            for mean in [
                USERS / 500 * share / PARTITIONS / 7.5 / (i + 1) * numbers.uniform(0.8, 1.2)
            ]
        ]
        yield Demand(
            pool="p",
            partition=partition,
            at_ms=at_ms,
            horizon_ms=60_000,
            services=tuple(services),
            expires_ms=at_ms + 30_000,
        )


def started(command: Command) -> Instance:
    return Instance(
        instance_id=command.command_id,
        service=command.service,
        pool="p",
        state=InstanceState.WARM,
        endpoint="",
        command_id=command.command_id,
        started_ms=command.issued_ms,
        changed_ms=command.issued_ms,
        warm_since_ms=command.issued_ms,
    )


@pytest.mark.benchmark
def test_a_tick_of_a_thousand_constituents_and_a_million_users_starts_instances() -> None:
    numbers, allocator, took_ms = Random(7), AllocatorStage(), list[float]()
    state, instances = dict[str, object](), dict[str, Instance]()
    catalog = catalog_of(numbers)
    for tick in range(1, TICKS + 1):
        heard = list(demands(numbers, 1_000 * tick))
        context = StepContext(catalog=catalog, instances=dict(instances))
        begun = time.process_time()
        made = [
            command
            for demand in heard
            for command in allocator.step(demand, state, context)  # type: ignore[arg-type]
        ]
        took_ms.append(1_000 * (time.process_time() - begun))
        for command in made:
            if isinstance(command, Command) and command.action is Action.PROVISION:
                instances[command.command_id] = started(command)
    print(  # noqa: T201 - its purpose
        f"\na decision for {CONSTITUENTS:,} constituents, {USERS:,} users, {len(instances):,}"
        f" instances: CPU time median {median(took_ms[2:]):.0f} ms, longest {max(took_ms[2:]):.0f} ms,"
        f" first {took_ms[0]:.0f} ms"
    )
    assert instances


@pytest.mark.benchmark
def test_the_greedy_choice_is_close_to_the_best() -> None:
    gaps = gaps_to_the_best(300)
    print(f"\ngap of the greedy choice: mean {mean(gaps):.2%}, largest {max(gaps):.1%}")  # noqa: T201 - its purpose
    assert mean(gaps) <= 0.02
