"""FeMux's published workload: applications of one day by the minute, and how a policy scores there.

Before each minute a policy names the containers to be warm, from earlier minutes only. What the
minute needs beyond them starts cold; memory is charged for the more of the two, by whole minutes,
where the published figures charge parts of minutes.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.errors import LogUnreadable
from streams.lab.compare.femux_flow import kept
from streams.lab.compare.run import OURS
from streams.settings import Settings

__all__ = [
    "FEMUX",
    "FORESEEN",
    "KEEP_ALIVE",
    "OURS",
    "ApplicationDay",
    "FemuxScore",
    "read",
    "scores",
]

MINUTES = 1440
# RUM (representative unified metric), in seconds: of a cold start, and of so many GB-s not used.
COLD_S, GBS = 0.808, 99.69
FEMUX, FORESEEN, KEEP_ALIVE = "FeMux", "knowing the next minute", "keep-alive"
PUBLISHED = {"Knative's default": "knative", FEMUX: "femux"}  # policy -> its columns
KEPT_MINUTES = (1, 5, 10, 15, 20, 30, 60)
FILE = "minutes.csv.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class FemuxScore:
    """Cold starts, and GB-s allocated and used, of one or several applications."""

    cold: float = 0.0
    gbs: float = 0.0
    used_gbs: float = 0.0

    def __add__(self, other: FemuxScore) -> FemuxScore:
        return FemuxScore(
            cold=self.cold + other.cold,
            gbs=self.gbs + other.gbs,
            used_gbs=self.used_gbs + other.used_gbs,
        )

    @property
    def rum(self) -> float:
        """The metric of the paper; lower is better."""
        return COLD_S * self.cold + (self.gbs - self.used_gbs) / GBS


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationDay:
    """One application: containers in use in each minute, and what was published of it."""

    containers: Sequence[int]
    gb: float  # memory of a container
    used_gbs: float
    published: Mapping[str, FemuxScore]  # by policy


def read(path: Path) -> list[ApplicationDay]:
    """The applications that FeMux has results of, from the table or the folder that holds it.

    Raises
    ------
    LogUnreadable
        There is no such table at the path, or it lacks what the protocol needs.
    """
    found = path / FILE if path.is_dir() else path
    rows = defaultdict[str, list[Mapping[str, str]]](list)
    try:
        with gzip.open(found, "rt", encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                rows[row["app"]].append(row)
        days = [_day(rows[app]) for app in sorted(rows) if any(r["femux_cold"] for r in rows[app])]
    except OSError as error:
        raise LogUnreadable(f"{found} cannot be read: {error.strerror or error}") from error
    except (KeyError, ValueError, IndexError) as error:
        raise LogUnreadable(f"{found} is not FeMux's table of minutes: {error!r}") from error
    if not days:
        raise LogUnreadable(f"{found} holds no application with results of FeMux")
    return days


def _day(rows: Sequence[Mapping[str, str]]) -> ApplicationDay:
    containers = [0] * MINUTES
    for row in rows:
        containers[int(row["minute"])] = int(row["containers"])
    used_gbs = _sum(rows, "used_gbs")
    scores = {
        policy: FemuxScore(
            cold=_sum(rows, f"{name}_cold"), gbs=_sum(rows, f"{name}_alloc_gbs"), used_gbs=used_gbs
        )
        for policy, name in PUBLISHED.items()
    }
    gb = float(rows[0]["mem_mb"]) / 1000
    return ApplicationDay(containers=containers, gb=gb, used_gbs=used_gbs, published=scores)


def _sum(rows: Iterable[Mapping[str, str]], column: str) -> float:
    return sum(float(row[column] or 0) for row in rows)


def scores(day: ApplicationDay, settings: Settings) -> dict[str, FemuxScore]:
    """The score of every policy on an application, the published ones first.

    That of foremesh is by what the stages of a worker keep in a replay with these settings.
    """
    found = dict(day.published)
    for minutes in KEPT_MINUTES:
        found[f"{KEEP_ALIVE} {minutes} min"] = _score(day, _kept(day, minutes))
    found[OURS] = _score(day, kept(day.containers, day.gb * 3600 / GBS, COLD_S, settings))
    found[FORESEEN] = _score(day, day.containers)
    return found


def _score(day: ApplicationDay, named: Iterable[int]) -> FemuxScore:
    """The score of a policy that names these numbers of containers, minute by minute."""
    cold = allocated = 0
    for containers, warm in zip(day.containers, named, strict=True):
        cold += max(0, containers - warm)
        allocated += max(containers, warm)
    return FemuxScore(cold=cold, gbs=allocated * day.gb * 60, used_gbs=day.used_gbs)


def _kept(day: ApplicationDay, minutes: int) -> Iterator[int]:
    for minute in range(MINUTES):
        yield max(day.containers[max(0, minute - minutes) : minute], default=0)
