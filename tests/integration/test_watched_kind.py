"""What a proxy before the API server may do to the answers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from lightkube import AsyncClient, KubeConfig
from lightkube.config.models import Cluster, User
from lightkube.resources.core_v1 import Pod

from streams.provisioners.kubernetes.watched_kind import WatchedKind

LABELS = {"pool": "default", "constituent": "a"}
POD = {"metadata": {"name": "a-1", "namespace": "shop", "labels": LABELS}}


class CuttingProxy:
    """An API server with one pod, whose first answers break off."""

    def __init__(self) -> None:
        self.lists, self.watches = 0, 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            self.watches += 1
            change = json.dumps({"type": "MODIFIED", "object": POD})
            return web.Response(text=change[:40] if self.watches == 1 else change)
        self.lists += 1
        listed: dict[str, Any] = {"metadata": {"resourceVersion": "7"}, "items": [POD]}
        text = json.dumps(listed)
        return web.Response(text=text[:30] if self.lists == 1 else text)


async def test_a_watch_goes_on_after_answers_that_break_off() -> None:
    proxy, app, failures = CuttingProxy(), web.Application(), list[str]()
    app.router.add_get("/api/v1/namespaces/shop/pods", proxy.answer)
    changed = asyncio.Event()
    async with TestServer(app) as server:
        config = KubeConfig.from_one(
            cluster=Cluster(server=str(server.make_url("/"))), user=User(), namespace="shop"
        )
        client = AsyncClient(config=config, namespace="shop")
        pods: WatchedKind[Pod] = WatchedKind(client, Pod, {"pool": "default"}, "constituent")
        following = asyncio.create_task(
            pods.follow(
                "5",
                lambda *_: changed.set(),
                lambda _: None,
                lambda error: failures.append(str(error)),
            )
        )
        async with asyncio.timeout(20):
            await changed.wait()
        following.cancel()
        await client.close()

    assert [text.partition(":")[0] for text in failures] == ["the answer is no JSON"] * 2
