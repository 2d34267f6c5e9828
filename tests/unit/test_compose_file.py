"""deploy/compose.yaml, which no test runs: what can be read off it."""

from __future__ import annotations

from typing import Any

from harness import CHECKOUT
from ruamel.yaml import YAML

SERVICES: dict[str, Any] = YAML(typ="safe", pure=True).load(CHECKOUT / "deploy" / "compose.yaml")[
    "services"
]


def test_kafka_writes_to_its_volume() -> None:
    kafka = SERVICES["kafka"]
    mounted = [volume.partition(":")[2] for volume in kafka["volumes"]]

    assert mounted == [kafka["environment"]["KAFKA_LOG_DIRS"]]
