"""What a provisioner on Kubernetes does while another one leads."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from streams.adapters.kafka.broker_watch import BrokerWatch
from streams.cli.provision_kubernetes import KubernetesTarget
from streams.provisioners.core.interface import ProvisionerLimits
from streams.provisioners.kubernetes.leader_election import LeaderElection
from streams.runtime.access import Listener
from streams.settings import Settings


async def test_a_standby_looks_whether_kafka_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looking: list[BrokerWatch] = []
    before_it_leads: list[int] = []

    def look(watch: BrokerWatch) -> None:
        looking.append(watch)

    async def stand_by(*_: object) -> bool:
        before_it_leads.append(len(looking))
        return True

    monkeypatch.setattr(BrokerWatch, "start", look)
    monkeypatch.setattr(LeaderElection, "lead", stand_by)
    monkeypatch.setattr(KubernetesTarget, "_connect", lambda *_, **__: AsyncMock())
    settings = Settings(kafka="127.0.0.1:1", metrics_port=0, build=str(tmp_path / "build"))
    target = KubernetesTarget(pool="default", namespace=None, take_over=False)
    await target.server(settings, Listener("127.0.0.1:0", "provisioner"), ProvisionerLimits())(
        asyncio.Event()
    )

    assert before_it_leads == [1]
