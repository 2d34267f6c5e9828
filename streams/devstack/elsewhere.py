"""Local stacks of other directories, found by their processes."""

from __future__ import annotations

from pathlib import Path

import psutil

from streams.devstack.child import ServerProcess

__all__ = ["builds_elsewhere"]


def builds_elsewhere(build: Path) -> list[Path]:
    """The build folders of other stacks that `foremesh up` started and this user may see."""
    found = {place.parents[1] for place in _places() if place.parent.name == "stack"}
    return sorted(found - {build.absolute()})


def _places() -> set[Path]:
    """The folders of servers: each runs in its own, and its pid is noted there."""
    places = set()
    for process in psutil.process_iter():
        try:
            place = Path(process.cwd())
            if ServerProcess(place.name, place).pid == process.pid:
                places.add(place)
        except (OSError, psutil.Error):
            continue
    return places
