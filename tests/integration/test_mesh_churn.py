from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from churning import churn
from harness import CHECKOUT, Running
from meshed import Mesh

from streams.adapters.kafka.topics import create_topics
from streams.devstack.kafka import KafkaServer
from streams.settings import Settings

SECONDS = float(os.environ.get("FOREMESH_CHURN_S", "24"))  # 600 for the whole of it
PER_S = float(os.environ.get("FOREMESH_CHURN_PER_S", "15"))  # also where the machine is shared


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaServer]:
    """A Kafka of its own: it will be restarted."""
    kafka = KafkaServer(tmp_path / "broker", CHECKOUT / "build")
    kafka.launch(tied=False)
    try:
        kafka.wait()
        yield kafka
    finally:
        kafka.stop()


@pytest.mark.timeout(SECONDS + 300)
async def test_no_request_fails_and_each_has_one_outcome_while_everything_comes_and_goes(
    broker: KafkaServer, tmp_path: Path
) -> None:
    settings = Settings(kafka=broker.address, partitions=2, build=str(tmp_path / "build"))
    create_topics(settings)
    running: list[Running] = []

    def run(*args: str, **env: str) -> Running:
        output = tmp_path / f"{len(running)}-{args[0]}-{args[1].strip('-')}.log"
        patient = {
            "FOREMESH_MESH_DEADLINE_MS": "25000",  # a start may take its time
            "FOREMESH_PROVISION_ALLOW_COMMAND": "*",
        }
        running.append(Running(args, {**settings.to_env(), **patient, **env}, output))
        return running[-1]

    try:
        found = await churn(Mesh(run), settings, broker, SECONDS, PER_S)
    finally:
        for one in running:
            if one.process.poll() is None:
                one.kill()

    assert found.failed == {}
    assert found.killed > 0
    assert set(found.outcomes.values()) == {1}
    assert len(found.outcomes) == found.asked
