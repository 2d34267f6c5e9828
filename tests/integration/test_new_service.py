from __future__ import annotations

import pytest
from harness import RunForemesh, eventually
from services import catalog_of, constituent, read, send

from streams.records import Prediction, Request
from streams.settings import Settings


@pytest.mark.usefixtures("topics")
def test_a_service_that_came_into_the_catalogue_a_moment_ago_is_known(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    send(settings, catalog_of(constituent("a")))
    worker = run_foremesh("worker", "profiler")
    for number, name in enumerate("abcdef"):
        send(settings, catalog_of(constituent(name)))
        # Before the worker looks at the catalogue of itself.
        asked = Request(request_id=name, user=name, service=f"only-{name}", at_ms=1_000 + number)
        send(settings, [asked])
        eventually(lambda: len(predicted(settings)) > number, 60.0)  # noqa: B023 - at once
    assert predicted(settings) == set("abcdef")
    assert read(settings, "dead-letters") == []
    assert worker.stop() == 0


def predicted(settings: Settings) -> set[str]:
    found = read(settings, "predictions")
    return {record.request_id for record in found if isinstance(record, Prediction)}
