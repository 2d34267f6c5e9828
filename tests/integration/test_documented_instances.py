from __future__ import annotations

import os
import re
from pathlib import Path

import aiohttp
from harness import CHECKOUT

from streams.provisioners.local.child_process import InstanceProcess


async def test_the_documented_instance_becomes_warm_serves_and_ends(tmp_path: Path) -> None:
    text = (CHECKOUT / "docs" / "reference" / "instances.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    program = tmp_path / "pricing.py"
    program.write_text(code)

    child = await InstanceProcess.spawn(["{python}", str(program)], os.environ)
    async with aiohttp.ClientSession() as session:
        await child.ready(session, "/healthz", 30)
        await child.warm_up(session, "/", '{"prices": []}', 30)
        asked = {"prices": [1, 2], "inputs": {}}
        async with session.post(child.endpoint, json=asked) as response:
            assert await response.json() == {"total": 3}
    await child.stop(5)

    assert await child.wait() == "was killed by signal 15"
