"""What earlier provisioners left on the topic of instances."""

from __future__ import annotations

from dataclasses import replace

from harness import RunForemesh, eventually
from pools import warm
from services import catalog_of, constituent, send

from streams.provisioners.core.topic_views import all_instances
from streams.records import InstanceState
from streams.runtime.clock import wall_ms
from streams.settings import Settings

HOUR_MS = 3_600_000


def test_what_is_gone_for_long_is_deleted_by_the_next_provisioner(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    now_ms = wall_ms()
    gone_ms = now_ms - HOUR_MS
    served = replace(warm("a", "old", "c1"), pool="default")
    old = replace(served, state=InstanceState.GONE, changed_ms=gone_ms, gone_ms=gone_ms)
    young = replace(old, instance_id="young", gone_ms=now_ms)
    theirs = replace(old, instance_id="theirs", pool="studio")
    send(settings, [*catalog_of(constituent("a")), young, old, theirs])

    run_foremesh("provision")

    eventually(lambda: {one.instance_id for one in all_instances(settings)} == {"young", "theirs"})
