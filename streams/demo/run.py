"""Run the demonstration: the same synthetic requests, first without pre-allocation, then with."""

from __future__ import annotations

import asyncio
import gc
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.adapters.kafka.lag import group_lags
from streams.adapters.kafka.topics import create_topics
from streams.adapters.postgres.maintenance import migrate
from streams.adapters.postgres.queries import count_outcomes
from streams.catalog import yaml_reader
from streams.catalog.yaml_writer import dump
from streams.demo.load import LoadResult, play
from streams.demo.mesh import DemoMesh
from streams.demo.pace import affordable_rate, start_up_s
from streams.demo.population import SyntheticPopulation, SyntheticRequest
from streams.demo.processes import DemoProcesses, until
from streams.demo.results import show
from streams.devstack import LocalStack, tools
from streams.engine.producer import CheckedProducer
from streams.flow.topology import key_of
from streams.records import Request
from streams.records.catalog import Catalog, Pool
from streams.request_path.envoy import binary
from streams.runtime.clock import wall_ms
from streams.settings import Settings

__all__ = ["DemoPlan", "DemoRun"]

TIERS = {"gold": 0.1, "silver": 0.3, "bronze": 0.6}
CONTROL, FOREMESH, PAST = "control", "foremesh", "past"
STARTS = 2  # instances that may start concurrently
_LEARN_S = 240.0
_WRITE_S = 120.0
_PAST_ENDS_MS = 60_000  # before the demonstration begins


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """Parameters of a demonstration."""

    users: int = 300
    seconds: float = 45.0
    seed: int = 7
    rate: float = 2.0  # requests per second of all users together
    keep_alive_s: float = 8.0  # after which an idle instance of the control ends
    keep: bool = False  # whether to leave Kafka and PostgreSQL running


class DemoRun:
    """Starts all processes, sends the load, shows the results, stops all processes.

    Parameters
    ----------
    plan
        Parameters of the demonstration.
    settings
        Only `build` is used, the directory of its files; it starts servers of its own.
    console
        Shows progress and results.
    """

    def __init__(self, plan: DemoPlan, settings: Settings, console: Console) -> None:
        self.plan = plan
        self.console = console
        self.build = Path(settings.build).absolute()
        self.folder = self.build / "demo"
        self.processes = DemoProcesses(self.folder / "logs")
        self.catalog = yaml_reader.load(Path(__file__).with_name("catalogue.yaml"))
        self.population = SyntheticPopulation(
            list(self.catalog.composites), TIERS, plan.users, plan.seed
        )
        self.rate = plan.rate

    def run(self) -> None:
        """Run the whole demonstration.

        Raises
        ------
        ForemeshError
            A process did not start or ended by itself, or outcomes are missing.
        """
        stack = LocalStack(self.build, self.folder / "stack", tied=not self.plan.keep)
        self._clean(stack)
        try:
            with self._progress() as progress:
                self._start(stack, progress)
                self._learn(progress)
                asks = self._asks(progress)
                played = {pool: self._play(pool, asks, progress) for pool in (CONTROL, FOREMESH)}
                self._await_sinks(progress)
            show(self.console, self.settings[FOREMESH].postgres, played, self.folder, self._about())
        finally:
            self.processes.stop()
            gc.collect()  # clients in reference cycles would log the end of the broker as an error
            if not self.plan.keep:
                stack.stop()

    # ------------------------------------------------------------------ set-up

    def _clean(self, stack: LocalStack) -> None:
        """Remove what an earlier demonstration has left; its servers may still run."""
        stack.stop()
        shutil.rmtree(self.folder / "stack", ignore_errors=True)
        shutil.rmtree(self.folder / "logs", ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)

    def _start(self, stack: LocalStack, progress: Progress) -> None:
        task = progress.add_task("Kafka and PostgreSQL", total=4, news="")
        binary.find_envoy()
        tools.java()
        tools.kafka_jars(self.build)
        progress.advance(task)
        stack.start()
        progress.advance(task)
        local = Settings(
            kafka=stack.kafka.address,
            postgres=stack.postgres.url(),
            partitions=2,
            horizon_ms=3_000,
            tick_ms=500,
            build=str(self.build),
        )
        # A flow of its own for the control: the stages must not learn the same requests twice.
        self.settings = {CONTROL: replace(local, prefix="control-"), FOREMESH: local}
        migrate(local.postgres)
        for pool, settings in self.settings.items():
            create_topics(settings)
            self._load_catalog(pool, settings)
            progress.advance(task)

    def _load_catalog(self, pool: str, settings: Settings) -> None:
        """Put the catalogue into force with its only pool under this name."""
        (shop,) = self.catalog.pools.values()
        entries = [entry for entry in self.catalog if not isinstance(entry, Pool)]
        path = self.folder / f"catalogue-{pool}.yaml"
        path.write_text(dump(Catalog.of([*entries, replace(shop, pool=pool)])), encoding="utf-8")
        self.processes.finish(settings, "catalog", "load", str(path))

    def _learn(self, progress: Progress) -> None:
        """Send the requests of the past and wait until the stages have learnt them."""
        settings = self.settings[FOREMESH]
        self.processes.start("worker", settings, "worker")
        for pool, theirs in self.settings.items():
            self.processes.start(f"sink-{pool}", theirs, "sink")
        past = self.population.past()
        producer = CheckedProducer(producer_config(settings))
        for request in _requests(past, wall_ms() - _PAST_ENDS_MS):
            producer.send(settings.topic("requests"), key_of(request), codec.encode(request))
        producer.flush(settings.delivery_ms / 1000)
        task = progress.add_task(f"learning {len(past):,} past requests", total=len(past), news="")

        def learnt() -> bool:
            behind = {group.stage: group.records for group in group_lags(settings)}
            progress.update(task, completed=max(0, len(past) - behind["profiler"]))
            return not any(behind[s] for s in ("profiler", "aggregator", "feedback", "interceptor"))

        until(learnt, _LEARN_S, "the past requests were not learnt", self.processes.check)
        progress.update(task, completed=len(past))

    def _asks(self, progress: Progress) -> list[SyntheticRequest]:
        """The requests to send; fewer than planned where instances start slowly."""
        known = self.catalog
        every = [c for name, c in known.constituents.items() if name not in known.bases]
        task = progress.add_task("measuring start-up times", total=1, news="")
        took_s = asyncio.run(start_up_s(every, self.folder / "models", STARTS))
        self.rate = min(self.plan.rate, affordable_rate(self.catalog, took_s, STARTS))
        news = f"{took_s * 1000:.0f} ms each: {self.rate:.1f} requests/s"
        progress.update(task, completed=1, news=news)
        return self.population.live(self.plan.seconds, self.rate)

    # ------------------------------------------------------------------ play

    def _play(self, pool: str, asks: list[SyntheticRequest], progress: Progress) -> LoadResult:
        """Start the processes of one pool, send it the load, stop them."""
        what = "without pre-allocation" if pool == CONTROL else "with foremesh"
        task = progress.add_task(f"{len(asks)} requests {what}", total=len(asks), news="")
        mesh = DemoMesh(self.processes, pool, self.settings[pool])
        keep_alive_s = self.plan.keep_alive_s if pool == CONTROL else 120
        starts = ("--keep-alive", str(keep_alive_s), "--starts", str(STARTS))
        mesh.open(*starts, models=self.folder / "models")

        def report(played: LoadResult) -> None:
            news = ", ".join(f"{count} {name}" for name, count in sorted(played.answers.items()))
            progress.update(task, completed=played.done, news=news)

        played = asyncio.run(self._watched(asks, mesh.url, pool, report))
        self._await_outcomes(pool, played.sent)
        mesh.close()
        return played

    def _await_outcomes(self, pool: str, sent: int) -> None:
        """Wait until PostgreSQL has an outcome for each request that was sent."""
        postgres = self.settings[pool].postgres
        sorry = f"PostgreSQL lacks outcomes of {pool}"
        until(lambda: count_outcomes(postgres, pool) >= sent, _WRITE_S, sorry, self.processes.check)

    async def _watched(
        self,
        asks: list[SyntheticRequest],
        url: str,
        pool: str,
        report: Callable[[LoadResult], None],
    ) -> LoadResult:
        """Send the load, but stop at once when one of the processes ends."""

        async def watch() -> None:
            while True:
                self.processes.check()
                await asyncio.sleep(0.5)

        watching = asyncio.create_task(watch())
        playing = asyncio.create_task(play(asks, url, pool, report))
        try:
            await asyncio.wait([watching, playing], return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
            return await playing
        finally:
            for task in (watching, playing):
                task.cancel()
            await asyncio.gather(watching, playing, return_exceptions=True)

    def _await_sinks(self, progress: Progress) -> None:
        """Wait until the sinks have written everything to PostgreSQL."""
        self.processes.stop("worker")
        task = progress.add_task("writing to PostgreSQL", total=None, news="")

        def written() -> bool:
            groups = [g for settings in self.settings.values() for g in group_lags(settings)]
            return not any(group.records for group in groups if group.stage == "sink")

        until(written, _WRITE_S, "the sinks are still writing to PostgreSQL", self.processes.check)
        progress.update(task, total=1, completed=1)

    # ------------------------------------------------------------------ output

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TimeElapsedColumn(),
            TextColumn("{task.fields[news]}"),
            console=self.console,
        )

    def _about(self) -> str:
        plan = self.plan
        return (
            f"{plan.users} synthetic users (seed {plan.seed}), {plan.seconds:g} s at"
            f" {self.rate:.2g} requests/s, the same requests twice, each time through an Envoy."
            f" {CONTROL}: an instance starts when a request needs it and ends when idle for"
            f" {plan.keep_alive_s:g} s."
            f" {FOREMESH}: instances start before predicted requests and end when not worth their price."
        )


def _requests(past: list[SyntheticRequest], now_ms: int) -> Iterator[Request]:
    """The past requests as records whose time ends at `now_ms`."""
    for number, ask in enumerate(past):
        yield Request(
            request_id=f"{PAST}-{number:06}",
            user=ask.user,
            service=ask.service,
            at_ms=now_ms + round(ask.at_s * 1000),
            tier=ask.tier,
            pool=PAST,
        )
