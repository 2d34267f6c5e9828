"""Which package may import which: every one is named, and there is no circle."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter

import pytest
from source import NAMES, PACKAGE, imports, trees

# What each package of streams imports of ours, besides itself: no more, and no less, so that this
# is a drawing of the house. The modules at its root stand for themselves.
BELOW: Mapping[str, set[str]] = {
    "errors": set(),
    "records": set(),
    "runtime": {"errors", "settings"},
    "settings": {"errors"},
    "flow": {"records"},
    "tracing": {"settings", "errors"},
    "broker": {"errors"},
    "report": {"records"},
    "catalog": {"records", "errors", "runtime"},
    "devstack": {"errors", "runtime"},
    "models": set(),
    "models.arrival": {"models"},
    "models.keep_warm": {"models"},
    "models.next_request": {"models", "models.arrival", "models.recurrent"},
    "models.recurrent": {"models"},
    "stages": {"records", "catalog", "models.next_request"},
    "stages.aggregator": {"records", "models", "models.arrival", "stages"},
    "allocator.valuation": {"records", "catalog", "models"},
    "allocator": {"records", "catalog", "stages", "models.keep_warm", "allocator.valuation"},
    "adapters": set(),
    "adapters.metrics": {"records", "errors"},
    "adapters.avro": {"records", "flow", "runtime"},
    "adapters.kafka": {
        "records",
        "flow",
        "settings",
        "errors",
        "broker",
        "adapters.avro",
        "adapters.metrics",
    },
    "adapters.logs": {"records", "errors", "runtime"},
    "adapters.postgres.sql": set(),
    "adapters.postgres": {"records", "flow", "errors", "adapters.postgres.sql"},
    "engine": {"records", "flow", "settings", "errors", "runtime", "stages", "tracing", "broker"},
    "engine.faust": {"settings", "errors", "engine"},
    "pipeline": {
        *("records", "flow", "settings", "errors", "runtime", "stages", "stages.aggregator"),
        *("allocator", "models.next_request"),
        *("adapters.avro", "adapters.metrics", "adapters.kafka", "adapters.postgres"),
        *("engine", "engine.faust", "tracing", "broker"),
    },
    "pipeline.event_time": {
        *("records", "flow", "settings", "errors", "stages", "engine", "pipeline", "broker"),
        *("adapters.avro", "adapters.metrics", "adapters.kafka"),
    },
    "provisioners": set(),
    "provisioners.core": {
        *("records", "flow", "settings", "errors", "runtime", "stages", "broker"),
        *("adapters.avro", "adapters.kafka", "adapters.metrics", "engine", "tracing"),
    },
    "provisioners.local": {"records", "errors", "runtime", "provisioners.core"},
    "provisioners.kubernetes": {"records", "runtime", "provisioners.core"},
    "provisioners.keda": {
        *("records", "settings", "runtime", "adapters.kafka", "adapters.metrics"),
        "provisioners.core",
    },
    "request_path": set(),
    "request_path.core": {
        *("records", "catalog", "flow", "settings", "errors", "runtime"),
        *("adapters.avro", "adapters.kafka", "adapters.metrics", "engine", "provisioners.core"),
        "tracing",
    },
    "request_path.gateway": {
        *("records", "settings", "runtime", "stages", "tracing"),
        *(
            "adapters.avro",
            "adapters.metrics",
            "adapters.kafka",
            "provisioners.core",
            "request_path.core",
        ),
    },
    "request_path.envoy": {
        *("records", "settings", "errors", "runtime", "stages"),
        *(
            "adapters.avro",
            "adapters.metrics",
            "adapters.kafka",
            "provisioners.core",
            "request_path.core",
        ),
    },
    "dashboard": {
        *("records", "settings", "errors", "runtime", "report", "allocator.valuation", "pipeline"),
        *("adapters.postgres", "adapters.postgres.sql", "provisioners.core", "request_path.core"),
    },
    "lab": set(),
    "lab.models": set(),
}
TOP = {"streams", "__main__", "cli", "demo", "lab.evaluate", "lab.compare"}  # import what they like
PACKAGES = {*BELOW, *TOP}
PURE = {name for name in BELOW if name.split(".")[0] in {"stages", "allocator", "models"}}
PURE |= {"lab.models"}
PURE_MAY_USE = {"msgspec", "numba", "numpy", "river", "streams"}
IMPURE = {"socket", "subprocess", "threading", "asyncio", "urllib", "http"}
CLOCKS = re.compile(r"\b(time\.(time|monotonic|perf_counter)|datetime\.now|utcnow)\b")


def package_of(name: str) -> str:
    """The package that a module or a name in it belongs to: `engine.faust` of `streams.engine.faust.app`."""
    parts = name.split(".")[1:]
    while parts and not PACKAGE.joinpath(*parts).is_dir():
        if len(parts) == 1:
            return parts[0] if PACKAGE.joinpath(f"{parts[0]}.py").exists() else "streams"
        parts.pop()
    return ".".join(parts) or "streams"


@cache
def drawn() -> Mapping[str, set[str]]:
    """The packages that each package imports, as the code has it."""
    graph: defaultdict[str, set[str]] = defaultdict(set)
    for path, tree in trees().items():
        importer = package_of(NAMES[path])
        ours = {package_of(name) for name in imports(tree) if name.split(".")[0] == "streams"}
        ours &= PACKAGES  # a folder of SQL is none
        graph[importer] |= ours - {importer}
    return graph


def circle_in(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_every_package_imports_what_is_drawn_here_and_nothing_else() -> None:
    graph = {name: imported for name, imported in drawn().items() if name not in TOP}

    assert graph == BELOW


def test_no_package_imports_itself_through_others() -> None:
    assert circle_in(drawn()) == []


def test_a_circle_is_found() -> None:
    assert circle_in({"cli": {"demo"}, "demo": {"devstack", "cli"}}) != []


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("streams.engine.faust.app.StageApp", "engine.faust"),
        ("streams.records.Request", "records"),
        ("streams.errors.ForemeshError", "errors"),
        ("streams", "streams"),
    ],
)
def test_a_name_belongs_to_the_innermost_package_around_it(name: str, package: str) -> None:
    assert package_of(name) == package


def test_stages_and_models_use_only_numbers_and_river_and_touch_nothing_outside() -> None:
    may_use = (sys.stdlib_module_names - IMPURE) | PURE_MAY_USE
    forbidden = [
        f"{NAMES[path]} imports {imported}"
        for path, tree in trees().items()
        if package_of(NAMES[path]) in PURE
        for imported in imports(tree)
        if imported.split(".")[0] not in may_use
    ]

    assert forbidden == []


def test_stages_and_models_read_no_clock() -> None:
    readers = [
        name
        for path, name in NAMES.items()
        if package_of(name) in PURE and CLOCKS.search(path.read_text())
    ]

    assert readers == []
