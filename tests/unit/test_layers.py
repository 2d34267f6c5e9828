"""Layers: a base that several constituents start from, from the catalogue to what a request finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import TIERS, World, actions, command, constituent, demand, pool, warm

from streams.allocator.valuation.bases import WarmBases
from streams.allocator.valuation.catalog_index import CatalogIndex
from streams.catalog.critical_path import cold_ms
from streams.records import Action, ColdStart, Instance, Outcome, Request
from streams.records.catalog import Catalog, Composite, Constituent
from streams.records.control import Control, Pin
from streams.stages.base import StepContext
from streams.stages.interceptor import Interceptor
from streams.stages.planned_pool import PlannedPool
from streams.stages.planned_provisioner import PlannedProvisioner

NAMES = "abcd"
STEPS = st.lists(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple), min_size=1, max_size=3
).map(tuple)
WAITS = st.fixed_dictionaries({name: st.integers(0, 10_000) for name in (*NAMES, "x", "y")})
BASES = st.fixed_dictionaries({name: st.sampled_from(["", "x", "y"]) for name in NAMES})


def layered(name: str, *, base: str = "model", warm_up_ms: int = 1_000) -> Constituent:
    return replace(constituent(name, warm_up_ms=warm_up_ms), base=base)


def studio(adapters: int, *, cpu: float = 10.0) -> World:
    """A model that takes ten seconds, and adapters that take one when it is warm."""
    names = [f"a{i}" for i in range(adapters)]
    return World(
        constituent("model"),
        *(layered(name) for name in names),
        *(Composite(service=f"draw {name}", steps=((name,),)) for name in names),
        pool(cpu),
    )


def test_a_base_is_warmed_alone_when_nothing_that_starts_from_it_pays() -> None:
    world = studio(5)
    assert world.hear(demand(1_000, ("draw a0", "bronze", 0.08))) == []
    world.hear(demand(2_000, *((f"draw a{i}", "bronze", 0.08) for i in range(5))))
    assert world.live() == {"model": 1}


def test_what_starts_from_a_cold_base_is_started_after_it() -> None:
    world = studio(1)
    first, second = world.hear(demand(1_000, ("draw a0", "gold", 1.0)))
    assert (first.service, second.service) == ("model", "a0")
    assert world.instances[f"{second.command_id}/1"].warm_since_ms == 1_000 + 10_000 + 1_000


def test_a_pin_of_a_base_is_for_one_which_serves_all() -> None:
    world = studio(1)
    world.hear(Control(pool="p", pins=(Pin(service="model", least=3),)))
    world.hear(demand(1_000, ("draw a0", "bronze", 0.0001)))
    assert world.live() == {"model": 1}
    assert world.hear(demand(30_000, ("draw a0", "bronze", 0.0001))) == []


def test_what_a_warm_base_saves_already_is_not_counted_again() -> None:
    world = studio(5)
    world.hear(demand(1_000, *((f"draw a{i}", "bronze", 0.08) for i in range(5))))
    for now_ms in (20_000, 21_000):
        # Worth 0.03, and 0.033 would pay; with the model cold it would be eleven times as much.
        assert world.hear(demand(now_ms, ("draw a0", "bronze", 3.0))) == []


def test_a_base_is_given_back_when_all_that_starts_from_it_is_warm() -> None:
    world = studio(1)
    made = [world.hear(demand(t, ("draw a0", "gold", 1.0))) for t in range(1_000, 90_000, 1_000)]
    assert (Action.RELEASE, "model") in [a for commands in made for a in actions(commands)]
    assert world.live() == {"a0": 1}


def test_a_base_is_kept_while_something_is_starting_from_it() -> None:
    world = studio(1)
    made = {t: world.hear(demand(t, ("draw a0", "gold", 1.0))) for t in range(1_000, 14_000, 500)}
    # The model is warm from 11 s on and a0, which starts from it, from 12 s on.
    assert [(t, *actions(made[t])) for t in made if made[t] and t > 1_000] == [
        (12_000, (Action.RELEASE, "model"))
    ]


def test_a_base_is_kept_while_something_is_to_start_from_it() -> None:
    world = studio(1)
    world.instances["m"] = warm("model", "m", "c")
    world.obeys = False
    asked = ("draw a0", "gold", 1.0)
    assert actions(world.hear(demand(1_000, asked))) == [(Action.PROVISION, "a0")]
    assert world.hear(demand(5_000, asked)) == []


def test_a_base_and_what_starts_from_it_do_not_fit_apart() -> None:
    made = studio(1, cpu=1.5).hear(demand(1_000, ("draw a0", "gold", 0.05)))
    assert actions(made) == [(Action.PROVISION, "model")]
    made = studio(1, cpu=0.5).hear(demand(1_000, ("draw a0", "gold", 1.0)))
    assert {command.action for command in made} == {Action.QUEUE}


def test_a_command_for_a_base_says_how_likely_something_starts_from_it() -> None:
    world = studio(5)
    (command,) = world.hear(demand(2_000, *((f"draw a{i}", "bronze", 0.08) for i in range(5))))
    assert f"probability {-np.expm1(-0.4):.3g} and starts in 10 s" in command.reason


@given(steps=STEPS, waits=WAITS, bases=BASES, warm=st.sets(st.sampled_from([*NAMES, "x", "y"])))
def test_a_base_is_worth_what_it_takes_off_the_critical_path_of_what_is_cold(
    steps: tuple[tuple[str, ...], ...],
    waits: dict[str, int],
    bases: dict[str, str],
    warm: set[str],
) -> None:
    parts = [layered(name, base=bases.get(name, ""), warm_up_ms=ms) for name, ms in waits.items()]
    gold = replace(TIERS[0], weight=1.0)
    anatomy = CatalogIndex(Catalog.of([*parts, gold, Composite(service="draw", steps=steps)]))
    mean = np.zeros((len(anatomy.services), len(anatomy.tiers)))
    mean[anatomy.services.index("draw"), [t.tier for t in anatomy.tiers].index("gold")] = 1.0
    flags = np.array([c.service in warm for c in anatomy.constituents], np.bool_)
    found = WarmBases(anatomy, anatomy.warm_up_ms, mean, flags)

    def waited_ms(warm: set[str]) -> int:
        def wait(name: str) -> int:
            base = bases[name]
            return (
                0
                if name in warm
                else waits[name] + (waits[base] if base and base not in warm else 0)
            )

        return cold_ms(steps, wait)

    for base in set(bases.values()) - {""}:
        saved = waited_ms(warm - {base}) - waited_ms(warm | {base})
        assert sum(found.worth(anatomy.number[base])) * 1_000 == pytest.approx(saved)


def test_on_paper_a_start_begins_with_its_base_unless_that_is_warm() -> None:
    context = StepContext(catalog=studio(2).catalog, instances={})
    plan: dict[str, PlannedPool] = {}
    made = [
        record
        for name in ("a0", "a1")
        for record in PlannedProvisioner().step(command(f"p/{name}", service=name), plan, context)
    ]
    begun = [(m.service, m.warm_since_ms) for m in made if isinstance(m, Instance)]
    assert begun == [("model", 11_000), ("a0", 12_000), ("a1", 12_000)]


def test_on_paper_nothing_starts_for_whose_base_there_is_no_room() -> None:
    context = StepContext(catalog=studio(1, cpu=0.5).catalog, instances={})
    plan: dict[str, PlannedPool] = {}
    made = list(PlannedProvisioner().step(command("p/a0", service="a0"), plan, context))
    assert [record for record in made if isinstance(record, Instance)] == []


@pytest.mark.parametrize(("warm_since_ms", "cold_ms"), [(1_000, 1_000), (9_000, 11_000)])
def test_a_logged_request_waits_for_the_base_too_unless_that_is_warm(
    warm_since_ms: int, cold_ms: int
) -> None:
    model = replace(warm("model", "m", "c"), warm_since_ms=warm_since_ms)
    context = StepContext(catalog=studio(1).catalog, instances={"m": model})
    request = Request(
        request_id="r", user="u", service="draw a0", at_ms=5_000, tier="gold", pool="p"
    )
    outcome, start = Interceptor().step(request, {}, context)
    assert isinstance(outcome, Outcome)
    assert outcome.cold_ms == cold_ms
    assert isinstance(start, ColdStart)
    assert start.service == "a0"
