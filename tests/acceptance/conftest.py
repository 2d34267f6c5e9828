from __future__ import annotations

import pytest
from harness import RunForemesh
from live import Live

from streams.settings import Settings


@pytest.fixture
def live(settings: Settings, topics: list[str], run_foremesh: RunForemesh) -> Live:
    """The flow on topics and a database of its own, to be started."""
    del topics
    return Live(settings, run_foremesh)
