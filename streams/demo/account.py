"""What an arm of the demonstration spent, and what its users waited; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from streams.demo.load import LoadResult
from streams.demo.population import SyntheticRequest
from streams.records import Instance, Outcome, Result
from streams.records.catalog import Catalog

__all__ = ["SLICES", "Account", "PlayedArm", "account"]

HOUR_MS = 3_600_000

# Some of the requests, told apart by what can be known of them.
SLICES: Mapping[str, Callable[[SyntheticRequest], bool]] = {
    "first of session": lambda ask: ask.first and not ask.new,
    "later in session": lambda ask: not ask.first and not ask.new,
    "new users": lambda ask: ask.new,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedArm:
    """The requests as they were played to one pool."""

    pool: str
    title: str
    asks: Sequence[SyntheticRequest]
    load: LoadResult
    ended_ms: int  # after its last answer

    def name(self, number: int) -> str:
        """The id of a request."""
        return f"{self.pool}-{number:06}"  # see `play`

    @property
    def began_ms(self) -> int:
        """Time 0 of the requests: what is before leads to them, and is not counted."""
        return self.load.began_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What became of the requests, in the money of the catalogue."""

    title: str
    requests: int
    served: int  # answered with 200
    late: int  # sent over .25 s after they were due: the load was not as planned
    hits: int  # found every instance warm
    started_before: int  # hits by instances that were all started before the request
    waited_s: float  # for instances to start, all users together
    warm_s: float  # instance-seconds
    spent: float  # on warm instances
    waiting: float  # what the waits cost
    shares: Mapping[str, tuple[int, int]]  # by slice: hits, and requests

    @property
    def total(self) -> float:
        """What instances and waits cost together."""
        return self.spent + self.waiting

    def of_thousand(self, money: float) -> float:
        """The same for a thousand requests."""
        return 1000 * money / max(1, self.requests)


def account(
    arm: PlayedArm, outcomes: Iterable[Outcome], instances: Iterable[Instance], catalog: Catalog
) -> Account:
    """Sum up one arm.

    Parameters
    ----------
    outcomes, instances
        May hold those of other arms and times; instances without an address were simulated.
    """
    asks = {arm.name(n): ask for n, ask in enumerate(arm.asks) if ask.at_s >= 0}
    found = [outcome for outcome in outcomes if outcome.request_id in asks]
    lives = {i.instance_id: i for i in instances if i.pool == arm.pool and i.endpoint}
    warm_ms = {name: _warm_ms(life, arm) for name, life in lives.items()}
    hits = [outcome for outcome in found if outcome.result is Result.HIT]
    hit = {outcome.request_id for outcome in hits}
    waited_s = sum(outcome.cold_ms for outcome in found) / 1000
    return Account(
        title=arm.title,
        requests=len(asks),
        served=sum(outcome.status == HTTPStatus.OK for outcome in found),
        late=arm.load.late,
        hits=len(hits),
        started_before=sum(_started_before(outcome, lives) for outcome in hits),
        waited_s=waited_s,
        warm_s=sum(warm_ms.values()) / 1000,
        spent=sum(
            ms / HOUR_MS * catalog.constituents[lives[name].service].price
            for name, ms in warm_ms.items()
        ),
        waiting=sum(o.cold_ms / 1000 * catalog.tiers[o.tier].weight for o in found),
        shares={name: _share(asks, hit, choose) for name, choose in SLICES.items()},
    )


def _warm_ms(life: Instance, arm: PlayedArm) -> int:
    """How long it was warm between time 0 and the last answer."""
    if life.warm_since_ms is None:
        return 0
    end_ms = arm.ended_ms if life.gone_ms is None else min(life.gone_ms, arm.ended_ms)
    return max(0, end_ms - max(life.warm_since_ms, arm.began_ms))


def _started_before(outcome: Outcome, lives: Mapping[str, Instance]) -> bool:
    return all(
        part.instance_id in lives and lives[part.instance_id].started_ms <= outcome.at_ms
        for part in outcome.parts
    )


def _share(
    asks: Mapping[str, SyntheticRequest], hit: set[str], choose: Callable[[SyntheticRequest], bool]
) -> tuple[int, int]:
    chosen = [name for name, ask in asks.items() if choose(ask)]
    return sum(name in hit for name in chosen), len(chosen)
