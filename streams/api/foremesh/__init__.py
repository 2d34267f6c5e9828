"""foremesh as a library: the stages that a worker runs, in memory, without Kafka.

>>> import foremesh
>>> catalog = foremesh.parse_catalog('''
... constituents:
...   model: {cpu: 500, memory: 9000, warm_up_ms: 8000, price: 0.2}
... composites:
...   draw: [model]
... tiers:
...   standard: {weight: 0.05, sla_ms: 2000}
... pools:
...   default: {cpu: 8000, memory: 65536, bandwidth: 1000}
... ''')
>>> profiler, allocator = foremesh.Profiler(catalog), foremesh.Allocator(catalog)
>>> for n in range(20):
...     request = foremesh.Request(
...         request_id=f"r{n}", user="alice", service="draw", at_ms=n * 10_000
...     )
...     vector = profiler.learn(request)
...     commands = allocator.decide(vector)
>>> vector.services[0].service
'draw'

`replay` runs all stages over a log at once. The packages below `streams` are the inside, which may
change; what is listed here changes only with a note in the changelog.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from streams.catalog.inference import infer as infer_catalog
from streams.catalog.yaml_reader import load as load_catalog
from streams.catalog.yaml_reader import parse as parse_catalog
from streams.errors import ForemeshError
from streams.records import (
    Action,
    Command,
    Feedback,
    Instance,
    InstanceState,
    Outcome,
    Prediction,
    Record,
    Request,
    Result,
    Utilisation,
)
from streams.records.catalog import Catalog, Composite, Constituent, Pool, Resources, Tier
from streams.records.control import Control
from streams.settings import Settings
from streams.stages.base import RecordUnusable

__all__ = [
    "Action",
    "Allocator",
    "Catalog",
    "Command",
    "Composite",
    "Constituent",
    "Control",
    "Feedback",
    "ForemeshError",
    "Instance",
    "InstanceState",
    "Outcome",
    "Pool",
    "Prediction",
    "Profiler",
    "Record",
    "RecordUnusable",
    "Request",
    "Resources",
    "Result",
    "Settings",
    "Tier",
    "Utilisation",
    "infer_catalog",
    "load_catalog",
    "parse_catalog",
    "replay",
]

__version__ = version("foremesh")  # its one place is pyproject.toml

if TYPE_CHECKING:
    from foremesh.library import Allocator, Profiler, replay
else:

    def __getattr__(name: str) -> Any:
        """What needs the models, which take a second to load, and half a minute the first time."""
        if name not in {"Allocator", "Profiler", "replay"}:
            raise AttributeError(f"module 'foremesh' has no attribute {name!r}")
        return getattr(importlib.import_module("foremesh.library"), name)
