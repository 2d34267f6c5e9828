"""A provisioner without Kafka, to be killed: prints the processes that it has, and waits."""

from __future__ import annotations

import asyncio
import os

import psutil
from provisioner_rigs import ANY
from services import command
from test_layered_starts import CATALOG

from streams.provisioners.local.provisioner import LocalProvisioner


async def main() -> None:
    local = LocalProvisioner("default", lambda: CATALOG, lambda _: None, commands=ANY)
    await local.open()
    await local.carry_out(command("sketch", count=3))
    while sum(held.live for held in local.ledger) < 4:  # noqa: ASYNC110 - of them nobody tells
        await asyncio.sleep(0.01)
    found = psutil.Process(os.getpid()).children(recursive=True)
    print(*(one.pid for one in found), flush=True)  # noqa: T201 - to the test
    await asyncio.sleep(60)


asyncio.run(main())
