"""This engine."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Any

from work import STAGES, Clock

from streams.engine.faust.app import WorkerApp, run
from streams.pipeline.worker import create_app
from streams.settings import Settings


def watch(app: WorkerApp, clock: Clock) -> None:
    """Start the clock at the first batch, stop it when all is delivered, saved and committable."""
    runner: Any = app.stages[0].owner
    take = runner.take

    async def timed(batch: Any) -> None:
        clock.start()
        await take(batch)

    def wait() -> None:
        while sum(dict(runner.committable()).values()) < clock.count:
            time.sleep(0.005)
        clock.stop()

    runner.take = timed
    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    stage: Any = STAGES[sys.argv[1]]()
    worker = create_app(Settings.from_env(), {stage.name: stage})
    watch(worker, Clock(int(sys.argv[2])))
    run(worker)
