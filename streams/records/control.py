"""Operator overrides of a pool, on top of its catalogue entry."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

__all__ = ["DAYS", "DAY_MINUTES", "STANDARD", "Control", "Mode", "Pin", "Quota", "Variant"]

MINUTE_MS = 60_000
DAY_MINUTES = 24 * 60
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONDAY_DAYS = 3  # 1970-01-01 was a Thursday


class Mode(enum.StrEnum):
    """What the allocator does with a pool."""

    ON = "on"  # decides, and has it carried out
    SHADOW = "shadow"  # decides and records what it would do, and does nothing
    ADVISE = "advise"  # decides nothing: predictions only, instances stay as they are
    OFF = "off"  # gives back what is idle, then does nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Bounds on the instances of a constituent, whatever they are worth."""

    service: str  # the constituent
    least: int = 0  # as far as capacity and budget allow
    most: int | None = None  # none: as many as pay
    days: tuple[int, ...] = ()  # 1 (Monday) to 7; none: every day
    from_minute: int = 0  # of the day, UTC
    until_minute: int = DAY_MINUTES  # not after it: until that minute of the following day

    @property
    def times(self) -> tuple[str, tuple[int, ...], int, int]:
        """Its constituent, and when it holds: what a later pin takes the place of."""
        return self.service, self.days, self.from_minute, self.until_minute

    @property
    def words(self) -> str:
        """The pin for people."""
        named = dict(enumerate(DAYS, 1))  # of a record from outside any number may be one
        days = "".join(f" {named.get(day, day)}" for day in self.days)
        times = f"{self.from_minute // 60:02}:{self.from_minute % 60:02}"
        times += f"-{self.until_minute // 60:02}:{self.until_minute % 60:02}"
        most = "" if self.most is None else f", at most {self.most}"
        return f"{self.service}: at least {self.least}{most},{days} {times}"

    def holds(self, at_ms: int) -> bool:
        """Whether the pin is in effect at a time."""
        minute, day = at_ms // MINUTE_MS % DAY_MINUTES, at_ms // MINUTE_MS // DAY_MINUTES
        overnight = self.until_minute <= self.from_minute
        if overnight and minute < self.until_minute:
            day -= 1  # it began the day before
        elif minute < self.from_minute or (not overnight and minute >= self.until_minute):
            return False
        return not self.days or (day + MONDAY_DAYS) % 7 + 1 in self.days


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """The most that warm instances held mostly for one tier may cost."""

    tier: str
    budget: float  # in an hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Parameters of the decisions about a pool."""

    name: str = "standard"
    price: float = 1.0  # multiplier on the price of warm time: above 1 less is kept warm
    slack: float = 0.2  # fraction by which an idle instance may be worth less than its cost
    settle_ms: int = 5_000  # an idle instance is released after being worth less for this long


STANDARD = Variant(slack=0.0, settle_ms=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Operator override of a pool; replaces the previous one."""

    pool: str
    mode: Mode = Mode.ON
    paused: bool = False  # nothing is decided until resumed; the mode is kept
    budget: float | None = None  # most that warm instances may cost in an hour, below the pool's
    pins: tuple[Pin, ...] = ()
    quotas: tuple[Quota, ...] = ()
    reason: str = ""  # for people
    variants: tuple[Variant, ...] = ()  # the champion, its challenger; none: the standard alone
    by: str = ""  # who said so
    at_ms: int = 0  # when; 0: by an earlier release, which kept no time

    @property
    def decides(self) -> bool:
        """Whether anything is decided in the pool."""
        return not self.paused and self.mode is not Mode.ADVISE

    @property
    def champion(self) -> Variant:
        """The variant in force."""
        return self.variants[0] if self.variants else STANDARD

    @property
    def challenger(self) -> Variant | None:
        """The variant that is tried on paper."""
        return self.variants[1] if len(self.variants) > 1 else None

    def challenged(self, variant: Variant) -> Control:
        """With this challenger in place of any other; ValueError when it has the champion's name."""
        if variant.name == self.champion.name:
            raise ValueError(f"{variant.name!r} is in force in {self.pool}: take another name")
        return replace(self, variants=(self.champion, variant))

    def promoted(self, name: str) -> Control:
        """With the variant of this name in force and the other one its challenger.

        Raises
        ------
        ValueError
            There is none of this name.
        """
        known = {variant.name: variant for variant in (self.champion, *self.variants[1:])}
        if name not in known:
            raise ValueError(f"{self.pool} has no variant {name!r}, only {', '.join(known)}")
        first = known.pop(name)
        return replace(self, variants=(first, *known.values()))

    def withdrawn(self) -> Control:
        """Without a challenger."""
        return replace(self, variants=(self.champion,))

    def pinned(self, pin: Pin) -> Control:
        """With this pin, in place of one of its constituent at the same times."""
        others = tuple(one for one in self.pins if one.times != pin.times)
        return replace(self, pins=(*others, pin))

    def unpinned(self, service: str) -> Control:
        """Without the pins of a constituent; LookupError when it has none."""
        others = self._pins_but(service)
        if others == self.pins:
            raise LookupError(f"{service!r} is not pinned in pool {self.pool!r}")
        return replace(self, pins=others)

    def limited(self, quota: Quota) -> Control:
        """With this quota in place of the one of its tier."""
        return replace(self, quotas=(*self._quotas_but(quota.tier), quota))

    def unlimited(self, tier: str) -> Control:
        """Without the quota of a tier; LookupError when it has none."""
        others = self._quotas_but(tier)
        if others == self.quotas:
            raise LookupError(f"tier {tier!r} has no quota in pool {self.pool!r}")
        return replace(self, quotas=others)

    def _pins_but(self, service: str) -> tuple[Pin, ...]:
        return tuple(pin for pin in self.pins if pin.service != service)

    def _quotas_but(self, tier: str) -> tuple[Quota, ...]:
        return tuple(quota for quota in self.quotas if quota.tier != tier)

    def limits(self, at_ms: int) -> dict[str, tuple[int, int | None]]:
        """The narrowest bounds, (least, most), of each constituent that is pinned at a time."""
        found: dict[str, tuple[int, int | None]] = {}
        for pin in self.pins:
            if pin.holds(at_ms):
                least, most = found.get(pin.service, (0, None))
                if pin.most is not None:
                    most = pin.most if most is None else min(most, pin.most)
                found[pin.service] = (max(least, pin.least), most)
        return {
            name: (least if most is None else min(least, most), most)
            for name, (least, most) in found.items()
        }
