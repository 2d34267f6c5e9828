"""The instances that docs/reference/instances.md shows, and what they must do."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import aiohttp
from harness import CHECKOUT

from streams.provisioners.local.child_process import InstanceProcess

__all__ = ["documented", "serves"]


def documented(language: str) -> list[str]:
    """The programs in this language."""
    text = (CHECKOUT / "docs" / "reference" / "instances.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


async def serves(command: Sequence[str]) -> None:
    """It becomes warm, answers as the example says, keeps connections, and ends at SIGTERM."""
    child = await InstanceProcess.spawn([*command], os.environ)
    async with aiohttp.ClientSession() as session:
        await child.ready(session, "/healthz", 30)
        await child.warm_up(session, "/", '{"prices": []}', 30)
        for prices in ([1, 2], [], [0.5]):
            asked: dict[str, object] = {"prices": prices, "inputs": {}}
            async with session.post(child.endpoint, json=asked) as response:
                assert response.status == 200
                assert await response.json() == {"total": sum(prices)}
    await child.stop(5)

    assert await child.wait() == "was killed by signal 15"
