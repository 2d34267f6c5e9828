"""A champion and its challenger simulated: what each would have saved, and what it would cost."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import World, constituent, demand, pool

from streams.allocator.state_bytes import AllocatorRow
from streams.allocator.trial import TrialState
from streams.records import Action, Command, Demand, Record, ServiceDemand
from streams.records.control import STANDARD, Control, Mode, Variant
from streams.records.trials import Score, Trial
from streams.records.verdicts import Verdict

TWIN = replace(STANDARD, name="twin")
DEAR = replace(STANDARD, name="dear", price=1_000.0, settle_ms=5_000)
CHEAP = replace(STANDARD, name="cheap", price=0.001)


def tried(challenger: Variant, *, mode: Mode = Mode.ON) -> Control:
    return Control(pool="p", mode=mode, variants=(STANDARD, challenger))


def heard(at_ms: int, *asked: tuple[str, float, int], partition: int = 0) -> Demand:
    """Demand of gold: expected requests of each service, and how many came so far."""
    return Demand(
        pool="p",
        partition=partition,
        at_ms=at_ms,
        horizon_ms=60_000,
        services=tuple(
            ServiceDemand(service=s, tier="gold", expected=e, seen=seen) for s, e, seen in asked
        ),
        expires_ms=at_ms + 30_000,
    )


def scores(world: World) -> tuple[Score, ...]:
    return world.trials[-1].scores


def challengers(world: World) -> list[Verdict]:
    return [verdict for verdict in world.verdicts if verdict.challenger]


def test_what_both_come_to_is_as_worked_by_hand() -> None:
    """One instance, warm from 11 s on; requests at 16, 17 and 150 s, each served in a second.

    The dear one gives it back within two minutes, so its third request waits the whole start of
    10 s. A second not waited is worth .1, a warm hour 1.
    """
    world = World(constituent("a"), pool())
    world.hear(heard(1_000, ("a", 1.0, 0)))
    world.hear(tried(DEAR))
    for at_s in (15, 16, 17, *range(20, 153, 2)):
        count = sum(at_s >= asked_s for asked_s in (16, 17, 150))
        world.hear(heard(1_000 * at_s, ("a", 1.0, count)))
    standard, dear = scores(world)
    assert asdict(standard) == {
        "variant": "standard",
        "requests": 3,
        "cold_ms": 0,
        "saved_ms": 30_000,
        "warm_ms": 141_000,
        "wasted_ms": 138_000,
        "worth": pytest.approx(3.0),
        "cost": pytest.approx(141 / 3_600),
    }
    assert (dear.requests, dear.cold_ms, dear.saved_ms) == (3, 10_000, 20_000)
    assert 7_000 <= dear.warm_ms <= 120_000
    assert dear.cost == pytest.approx(dear.warm_ms / 3_600_000)
    assert standard.net == pytest.approx(3.0 - 141 / 3_600)
    assert (world.trials[-1].since_ms, world.trials[-1].at_ms) == (1_000, 152_000)


def test_a_request_is_judged_once_also_when_a_time_is_decided_upon_twice() -> None:
    world = World(constituent("a"), pool())
    for partition in (0, 1):
        world.hear(heard(1_000, ("a", 1.0, 0), partition=partition))
    world.hear(tried(TWIN))
    for partition in (0, 1):
        world.hear(heard(2_000, ("a", 1.0, 1), partition=partition))
    world.hear(heard(2_000, ("a", 1.0, 2)))
    world.hear(tried(TWIN))
    for at_ms in (4_000, 6_000):
        for partition in (0, 1):
            world.hear(heard(at_ms, ("a", 1.0, 2 - partition), partition=partition))
    assert [score.requests for score in scores(world)] == [3, 3]


COUNTS = st.tuples(*[st.integers(0, 5)] * 4)
STORY = st.lists(
    st.tuples(st.integers(0, 20_000), COUNTS, st.tuples(*[st.floats(0, 5)] * 4)),
    min_size=1,
    max_size=12,
)
Story = list[tuple[int, tuple[int, ...], tuple[float, ...]]]


def play(story: Story, *words: Control, obeys: bool = True) -> tuple[World, list[Command]]:
    parts = [constituent(name, cpu=1 + i % 3) for i, name in enumerate("abcd")]
    world, now_ms, seen = World(*parts, pool(cpu=5.0), obeys=obeys), 1_000, [0] * 4
    made = world.hear(heard(now_ms))
    for word in words:
        made += world.hear(word)
    for gap_ms, more, expected in story:
        now_ms += gap_ms
        seen = [before + new for before, new in zip(seen, more, strict=True)]
        made += world.hear(heard(now_ms, *zip("abcd", expected, seen, strict=True)))
        encode, decode = world.allocator.encode, world.allocator.decode
        world.state = {key: decode(encode(row)) for key, row in world.state.items()}
    return world, made


@given(story=STORY)
def test_two_with_the_same_parameters_come_to_the_same(story: Story) -> None:
    world, _ = play(story, tried(TWIN))
    for trial in world.trials:
        standard, twin = trial.scores
        assert (standard.variant, twin.variant) == ("standard", "twin")
        for name in standard.__slots__:
            assert name == "variant" or getattr(standard, name) == getattr(twin, name)


@given(story=STORY, price=st.floats(0.01, 100), settle_ms=st.integers(0, 60_000))
def test_a_trial_changes_nothing_that_is_done(story: Story, price: float, settle_ms: int) -> None:
    challenger = Variant(name="other", price=price, settle_ms=settle_ms)
    alone, tested = play(story), play(story, tried(challenger))
    given_alone = [(c.action, c.service, c.value, c.issued_ms) for c in alone[1]]
    assert [(c.action, c.service, c.value, c.issued_ms) for c in tested[1]] == given_alone
    assert alone[0].live() == tested[0].live()


class SavedRows(World):
    """Keeps every row that was ever saved, and its bytes at that time."""

    def __init__(self) -> None:
        super().__init__(*[constituent(name) for name in "abcd"], pool(cpu=2.0))
        self.saved: dict[int, tuple[AllocatorRow, bytes]] = {}

    def hear(self, event: Record) -> list[Command]:
        made = super().hear(event)
        for row in self.state.values():
            if id(row) not in self.saved:
                self.saved[id(row)] = (row, self.allocator.encode(row))
        return made


@given(story=STORY, mode=st.sampled_from([Mode.ON, Mode.SHADOW]))
def test_a_step_changes_no_row_that_was_saved(story: Story, mode: Mode) -> None:
    world, now_ms, seen = SavedRows(), 1_000, [0] * 4
    for number, (gap_ms, more, expected) in enumerate(story):
        if number % 3 == 1:
            world.hear(tried(CHEAP, mode=mode))
        now_ms += gap_ms
        seen = [before + new for before, new in zip(seen, more, strict=True)]
        world.hear(heard(now_ms, *zip("abcd", expected, seen, strict=True)))
    for row, data in world.saved.values():
        assert world.allocator.encode(row) == data


@given(story=STORY)
def test_what_is_saved_and_waited_is_the_whole_of_all_starts(story: Story) -> None:
    world, _ = play(story, tried(CHEAP))
    for trial in world.trials:
        for score in trial.scores:
            assert score.saved_ms + score.cold_ms == 10_000 * score.requests
            assert 0 <= score.wasted_ms <= score.warm_ms


def test_what_the_challenger_would_do_is_told_and_not_done() -> None:
    world = World(constituent("a"), pool())
    world.hear(demand(1_000, ("a", "bronze", 0.05)))
    made = world.hear(tried(CHEAP))
    for at_ms in (2_000, 3_000, 4_000):
        made += world.hear(demand(at_ms, ("a", "bronze", 0.05)))
    assert made == []
    verdict, *_ = challengers(world)
    assert (verdict.challenger, verdict.mode, verdict.choice.value) == (
        "cheap",
        Mode.SHADOW,
        "start",
    )
    assert verdict.command_id == "cheap~p/a/2000/1"


def test_the_promoted_one_decides_at_once() -> None:
    world = World(constituent("a"), pool())
    world.hear(demand(1_000, ("a", "bronze", 0.05)))
    world.hear(tried(CHEAP))
    (command,) = world.hear(Control(pool="p", variants=(CHEAP, STANDARD)))
    assert (command.action, command.service) == (Action.PROVISION, "a")
    assert [score.variant for score in scores(world)] == ["cheap", "standard"]


def test_saying_the_same_again_lets_the_trial_go_on() -> None:
    world = World(constituent("a"), pool())
    world.hear(heard(1_000, ("a", 1.0, 0)))
    for at_ms in range(2_000, 20_000, 1_000):
        world.hear(tried(CHEAP))
        world.hear(heard(at_ms, ("a", 1.0, at_ms // 1_000)))
    assert {trial.since_ms for trial in world.trials} == {1_000}
    assert scores(world)[0].requests > 0


def test_a_trial_runs_in_the_shadow_too() -> None:
    world = World(constituent("a"), pool())
    world.hear(heard(1_000, ("a", 1.0, 0)))
    world.hear(tried(CHEAP, mode=Mode.SHADOW))
    for at_ms in range(2_000, 30_000, 1_000):
        assert world.hear(heard(at_ms, ("a", 1.0, at_ms // 4_000))) == []
    assert scores(world)[0].saved_ms > 0


@pytest.mark.parametrize(
    "word",
    [
        Control(pool="p"),
        Control(pool="p", variants=(STANDARD,)),
        Control(pool="p", variants=(STANDARD, CHEAP), paused=True),
        Control(pool="p", variants=(STANDARD, CHEAP), mode=Mode.OFF),
        Control(pool="p", variants=(STANDARD, CHEAP), mode=Mode.ADVISE),
    ],
)
def test_a_trial_that_is_over_is_forgotten(word: Control) -> None:
    world = World(constituent("a"), pool())
    world.hear(demand(1_000, ("a", "gold", 1.0)))
    world.hear(tried(CHEAP))
    assert isinstance(world.state["t/p"], TrialState)
    world.hear(word)
    assert "t/p" not in world.state
    told = len(world.trials)
    world.hear(demand(9_000, ("a", "gold", 1.0)))
    assert len(world.trials) == told


def test_what_a_trial_remembers_does_not_grow_with_time() -> None:
    world = World(constituent("a"), constituent("b"), pool(cpu=1.0))
    world.hear(heard(1_000))
    world.hear(tried(DEAR))
    sizes = []
    for tick in range(1, 400):
        both = [("a", 3.0 * (tick // 20 % 2), tick), ("b", 3.0 - 3.0 * (tick // 20 % 2), tick)]
        world.hear(heard(1_000 * tick, *both))
        sizes.append(len(world.allocator.encode(world.state["t/p"])))
    assert max(sizes[200:]) <= max(sizes[:200]) + 100  # digits of sums


def test_trials_are_told_every_few_seconds_only() -> None:
    world = World(constituent("a"), pool())
    world.hear(heard(1_000))
    world.hear(tried(DEAR))
    for at_ms in range(1_100, 11_100, 100):
        world.hear(heard(at_ms))
    assert all(isinstance(trial, Trial) for trial in world.trials)
    assert 4 <= len(world.trials) <= 6
