"""What an operator wants of a pool, beside what the catalogue says of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["DAY_MINUTES", "STANDARD", "Control", "Mode", "Pin", "Quota", "Variant"]

MINUTE_MS = 60_000
DAY_MINUTES = 24 * 60
MONDAY_DAYS = 3  # 1970-01-01 was a Thursday


class Mode(enum.StrEnum):
    """What the allocator does with a pool."""

    ON = "on"  # decides, and has it carried out
    SHADOW = "shadow"  # decides and records what it would do, and does nothing
    ADVISE = "advise"  # decides nothing: predictions only, instances stay as they are
    OFF = "off"  # gives back what is idle, then does nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """How many instances of a constituent there have to be, whatever the economy says."""

    service: str  # the constituent
    least: int = 0  # as far as capacity and budget allow
    most: int | None = None  # none: as many as pay
    days: tuple[int, ...] = ()  # 1 (Monday) to 7; none: every day
    from_minute: int = 0  # of the day, UTC
    until_minute: int = DAY_MINUTES  # not after it: until that minute of the following day

    def holds(self, at_ms: int) -> bool:
        """Whether it holds at a time."""
        minute, day = at_ms // MINUTE_MS % DAY_MINUTES, at_ms // MINUTE_MS // DAY_MINUTES
        overnight = self.until_minute <= self.from_minute
        if overnight and minute < self.until_minute:
            day -= 1  # it began the day before
        elif minute < self.from_minute or (not overnight and minute >= self.until_minute):
            return False
        return not self.days or (day + MONDAY_DAYS) % 7 + 1 in self.days


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Most that warm instances may cost that are mostly for one tier."""

    tier: str
    budget: float  # in an hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Parameters by which a pool is decided upon."""

    name: str = "standard"
    price: float = 1.0  # times its price that warm time counts: above 1 less is kept warm
    slack: float = 0.2  # part by which an idle instance may be worth less than it costs
    settle_ms: int = 5_000  # it is given back when it has been worth less for so long


STANDARD = Variant()


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """An operator's word on a pool: the last one holds, whole."""

    pool: str
    mode: Mode = Mode.ON
    paused: bool = False  # nothing is decided until resumed; the mode is kept
    budget: float | None = None  # most that warm instances may cost in an hour, below the pool's
    pins: tuple[Pin, ...] = ()
    quotas: tuple[Quota, ...] = ()
    reason: str = ""  # for people
    variants: tuple[Variant, ...] = ()  # the champion, its challenger; none: the standard alone

    @property
    def champion(self) -> Variant:
        """By which the pool is decided upon."""
        return self.variants[0] if self.variants else STANDARD

    def limits(self, at_ms: int) -> dict[str, tuple[int, int | None]]:
        """Of each constituent pinned at a time how many at least and at most: the narrowest."""
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
