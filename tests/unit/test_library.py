"""foremesh as a library: it runs the stages of a worker, and what its documents show is so."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path
from typing import Any

import pytest
from harness import CHECKOUT

import foremesh
from streams.allocator.stage import AllocatorStage
from streams.pipeline.replay import ReplayedFlow
from streams.stages.aggregator.stage import Aggregator
from streams.stages.base import StepContext

FOLDER = CHECKOUT / "streams/api/foremesh"
MODULES = ["foremesh", *(f"foremesh.{path.stem}" for path in FOLDER.glob("[a-z]*.py"))]
CATALOG = foremesh.parse_catalog("""
constituents:
  model: {cpu: 500, memory: 9000, warm_up_ms: 8000, price: 0.2}
composites:
  draw: [model]
tiers:
  standard: {weight: 0.05, sla_ms: 2000}
pools:
  default: {cpu: 8000, memory: 65536, bandwidth: 1000}
""")
REQUESTS = [
    foremesh.Request(request_id=f"r{n}", user=f"u{n % 3}", service="draw", at_ms=n * 10_000)
    for n in range(90)
]
WARM = foremesh.Instance(
    instance_id="i1",
    pool="default",
    service="model",
    state=foremesh.InstanceState.WARM,
    endpoint="http://127.0.0.1:9",
    command_id="c1",
    started_ms=0,
    changed_ms=REQUESTS[-1].at_ms,
    warm_since_ms=0,
)


def flow() -> ReplayedFlow:
    return ReplayedFlow(foremesh.Settings(partitions=1), CATALOG)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_the_library_are_true(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name))

    assert tried
    assert not failed


def test_the_examples_of_the_document_are_true() -> None:
    failed, tried = doctest.testfile(
        str(CHECKOUT / "docs" / "reference" / "api.md"), module_relative=False
    )

    assert tried
    assert not failed


def test_the_profiler_predicts_what_a_worker_would() -> None:
    profiler = foremesh.Profiler(CATALOG)
    whole = flow()

    alone = [profiler.learn(request) for request in REQUESTS]

    made = [record for request in REQUESTS for record in whole.feed(request)]
    assert alone == [record for record in made if isinstance(record, foremesh.Prediction)]


def test_the_allocator_commands_what_the_stages_of_a_worker_do() -> None:
    vector = foremesh.Profiler(CATALOG).learn(REQUESTS[0])
    assert vector is not None

    alone = foremesh.Allocator(CATALOG).decide(vector)

    context = StepContext(catalog=CATALOG)
    demands = Aggregator().step(vector, {}, context)
    stage, state = AllocatorStage(), dict[str, Any]()
    made = [record for demand in demands for record in stage.step(demand, state, context)]
    assert alone
    assert alone == [record for record in made if isinstance(record, foremesh.Command)]


def test_time_alone_has_the_allocator_release_what_no_longer_pays() -> None:
    profiler, allocator = foremesh.Profiler(CATALOG), foremesh.Allocator(CATALOG)
    for request in REQUESTS:
        allocator.decide(profiler.learn(request))
    last_ms = REQUESTS[-1].at_ms
    allocator.see(WARM)

    later = allocator.advance(last_ms + 3_600_000)

    assert foremesh.Action.RELEASE in {one.action for one in later}


def test_a_request_that_comes_again_has_no_vector_and_no_command() -> None:
    profiler, allocator = foremesh.Profiler(CATALOG), foremesh.Allocator(CATALOG)
    profiler.learn(REQUESTS[0])

    again = profiler.learn(REQUESTS[0])

    assert again is None
    assert allocator.decide(again) == []


def test_a_request_that_cannot_be_used_is_refused_with_the_reason() -> None:
    nothing = foremesh.Request(request_id="r", user="", service="draw", at_ms=0)

    with pytest.raises(foremesh.RecordUnusable, match="user"):
        foremesh.Profiler(CATALOG).learn(nothing)


def test_all_stages_take_part_in_a_replay() -> None:
    made = list(foremesh.replay(REQUESTS, CATALOG))

    assert {"Request", "Prediction", "Demand", "Verdict", "Instance", "Outcome", "Feedback"} <= {
        type(record).__name__ for record in made
    }


def test_all_that_the_library_exports_is_there() -> None:
    assert [name for name in foremesh.__all__ if not hasattr(foremesh, name)] == []


def test_nothing_inside_uses_the_library() -> None:
    inside = set((CHECKOUT / "streams").rglob("*.py")) - set(FOLDER.rglob("*.py"))

    assert [path for path in inside if imports_library(path)] == []


def imports_library(path: Path) -> bool:
    return any(
        line.startswith(("import foremesh", "from foremesh"))
        for line in map(str.strip, path.read_text().splitlines())
    )
