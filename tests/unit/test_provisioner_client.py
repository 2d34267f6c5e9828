from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import aiohttp
import pytest

from streams.provisioners.core.http_api import MOST_BYTES
from streams.provisioners.core.interface import InstanceUse, StandardPathRefused
from streams.request_path.core import provisioner_client
from streams.request_path.core.provisioner_client import (
    ProvisionerAway,
    ProvisionerClient,
    instance_of,
)
from streams.runtime.clock import wall_ms
from streams.settings import Settings

TOLD = {
    "instance_id": "x",
    "service": "a",
    "pool": "p",
    "state": "warm",
    "endpoint": "http://127.0.0.1:1",
    "command_id": "c",
    "started_ms": 1,
    "changed_ms": 2,
}


class Answering:
    """A session whose provisioner answers with 200, and with this."""

    status = 200

    def __init__(self, content: Any) -> None:
        self.content = content

    def post(self, *_: Any, **__: Any) -> Answering:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def json(self) -> Any:
        return self.content


def test_an_answer_of_a_newer_provisioner_is_understood() -> None:
    assert instance_of({**TOLD, "mood": "good"}).state.value == "warm"


@pytest.mark.parametrize("content", [{}, [], None, 7, {"state": "warm"}, {**TOLD, "state": "odd"}])
async def test_an_answer_without_an_instance_is_a_refusal(content: Any, tmp_path: Any) -> None:
    session = cast("aiohttp.ClientSession", Answering(content))
    client = ProvisionerClient(session, Settings(build=str(tmp_path)))
    with pytest.raises(StandardPathRefused, match="answers with no instance"):
        await client.start("a", "r", wall_ms() + 60_000, [], pool="default")


class Taking(Answering):
    """One that takes the reports of use before this one, and no more."""

    def __init__(self, takes: int) -> None:
        super().__init__(None)
        self.takes, self.sizes = takes, list[int]()

    def post(self, *_: Any, **given: Any) -> Answering:
        self.sizes.append(len(json.dumps(given["json"])))
        return self

    def raise_for_status(self) -> None:
        if len(self.sizes) > self.takes:
            raise aiohttp.ClientError


@pytest.mark.parametrize(("takes", "left"), [(9, 0), (3, 1_000), (0, 2_500)])
async def test_a_report_of_many_instances_comes_in_parts_that_a_provisioner_takes(
    takes: int, left: int, tmp_path: Any
) -> None:
    session = Taking(takes)
    client = ProvisionerClient(
        cast("aiohttp.ClientSession", session), Settings(build=str(tmp_path))
    )
    uses = [InstanceUse(instance_id=f"{n:x<256}", in_flight=1) for n in range(2_500)]

    assert [*await client.report(uses)] == uses[2_500 - left :]
    assert max(session.sizes) < MOST_BYTES


class Nobody:
    """A session that cannot connect."""

    def post(self, *_: Any, **__: Any) -> Any:
        key = cast("Any", SimpleNamespace(host="h", port=1, ssl=None, is_ssl=False))
        raise aiohttp.ClientConnectorError(key, OSError("refused"))


@pytest.mark.parametrize(("later_s", "for_s"), [(4.0, 4.0), (3_600.0, 0.0)])
async def test_an_outage_is_as_long_as_it_was_seen(
    later_s: float, for_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ProvisionerClient(cast("Any", Nobody()), Settings(build=str(tmp_path)))
    told: list[float] = []
    for now_s in (100.0, 100.0 + later_s):
        clock = SimpleNamespace(monotonic=lambda now_s=now_s: now_s)
        monkeypatch.setattr(provisioner_client, "time", clock)
        with pytest.raises(ProvisionerAway) as away:
            await client.start("a", "r", wall_ms() + 60_000, [], pool="default")
        told.append(away.value.for_s)

    assert told == [0.0, for_s]
