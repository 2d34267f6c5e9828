"""foremesh: learns which composite service each user asks for next, and keeps it warm.

::

    requests -> profiler -> predictions -> aggregator -> demand -> allocator -> commands
        ^          ^                           ^                       ^            |
        |          |                           |                  utilisation       v
        |          +-------- feedback <--------+                       +------ provisioner
        |                       ^                                                   |
        |                   feedback                                            instances
        |                       ^                                                   v
        +-------------------- outcomes <-------------------------------------- interceptor

control (operator overrides) -> allocator -> verdicts (why), trials (champion and challenger)
anything that cannot be read or used -> dead-letters
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`streams.app` for `faust -A streams worker`, made from the environment when asked for."""
    if name != "app":
        raise AttributeError(f"module 'streams' has no attribute {name!r}")
    from streams.pipeline.worker import create_app  # noqa: PLC0415  # a plain import needs no Kafka
    from streams.settings import Settings  # noqa: PLC0415

    return globals().setdefault("app", create_app(Settings.from_env()))
