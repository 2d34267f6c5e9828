"""Run the demonstration: the same requests with foremesh, with a keep-alive, and with neither."""

from __future__ import annotations

import asyncio
import csv
import gc
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from streams.adapters.kafka.lag import group_lags
from streams.adapters.kafka.topics import create_topics
from streams.adapters.postgres.maintenance import migrate
from streams.adapters.postgres.queries import HistoryRange, count_outcomes, read_history
from streams.catalog.yaml_writer import dump
from streams.demo.account import Account, PlayedArm, account
from streams.demo.keep_alive import keep_alive_s, least_total
from streams.demo.load import LoadResult, play
from streams.demo.mesh import DemoMesh
from streams.demo.population import LEAD_S, SyntheticPopulation, SyntheticRequest
from streams.demo.processes import DemoProcesses, until
from streams.demo.results import show
from streams.demo.studio import TIER, catalogue
from streams.devstack import LocalStack, tools
from streams.request_path.envoy import binary
from streams.runtime.clock import wall_ms
from streams.settings import Settings

__all__ = ["DemoPlan", "DemoRun"]

WITHOUT, TIMER, FOREMESH = "without", "keep-alive", "foremesh"
STARTS = 64  # instances that may start at once: they wait, rather than compute
_AT_ONCE_S = 0.5  # after which an idle instance ends where nothing is kept
_LONG_S = 600.0  # foremesh releases instances itself
_LEARN_S = 300.0
_WRITE_S = 120.0
_PAST_ENDS_MS = 1_000  # before the past is learnt


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """Parameters of a demonstration."""

    users: int = 180
    styles: int = 100
    past_s: float = 600.0
    seconds: float = 40.0  # that are counted of each arm
    seed: int = 7
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
        self.catalog = catalogue(plan.styles)
        self.population = SyntheticPopulation(
            plan.users, plan.styles, plan.past_s, plan.seconds, plan.seed
        )

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
                accounts = self._play_all(progress)
            self.console.print(self._about())
            best = least_total(self.population.live(), self.catalog)
            show(self.console, accounts, best, self.folder)
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
            tick_ms=250,
            build=str(self.build),
        )
        # A flow of its own for what foremesh is held against: it must not learn requests twice.
        control = replace(local, prefix="control-")
        self.settings = {FOREMESH: local, TIMER: control, WITHOUT: control}
        migrate(local.postgres)
        self._load_catalogue(local, FOREMESH)
        progress.advance(task)
        self._load_catalogue(control, TIMER, WITHOUT)
        progress.advance(task)

    def _load_catalogue(self, settings: Settings, *pools: str) -> None:
        """Create the topics of a flow, put the catalogue into force, start its sink."""
        create_topics(settings)
        path = self.folder / f"catalogue-{pools[0]}.yaml"
        path.write_text(dump(catalogue(self.plan.styles, *pools)), encoding="utf-8")
        self.processes.finish(settings, "catalog", "load", str(path))
        self.processes.start(f"sink-{pools[0]}", settings, "sink")

    def _learn(self, progress: Progress) -> None:
        """Produce the requests of the past; a worker in event time learns them, in their order."""
        past = self.population.past()
        task = progress.add_task(f"learning {len(past):,} past requests", total=None, news="")
        path, settings = self.folder / "past.csv", self.settings[FOREMESH]
        self._write_past(path)
        columns = [f"--{name}={name}" for name in ("user", "service", "time", "tier", "pool")]
        self.processes.start("learner", replace(settings, clock="event"), "worker")
        self.processes.finish(
            settings, "produce", str(path), *columns, "--wait", timeout_s=_LEARN_S
        )
        self.processes.stop("learner")
        self.processes.start("worker", settings, "worker")
        progress.update(task, total=1, completed=1)

    def _write_past(self, path: Path) -> None:
        """Write the requests of the past as a log that ends now."""
        now_ms = wall_ms() - _PAST_ENDS_MS
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["user", "service", "time", "tier", "pool"])
            for ask in self.population.past():
                at_ms = now_ms + round((ask.at_s + LEAD_S) * 1000)
                rows.writerow([ask.user, ask.service, at_ms, TIER.tier, FOREMESH])

    # ------------------------------------------------------------------ play

    def _play_all(self, progress: Progress) -> list[Account]:
        """Play the three arms; foremesh first, for the timer is to spend as much."""
        foremesh = self._play(FOREMESH, "foremesh", _LONG_S, progress)
        self.processes.stop("worker")
        self._await_sink(FOREMESH)
        spent = self._account(foremesh).spent
        idle_s = keep_alive_s(spent, foremesh.asks, self.catalog)
        timer = self._play(TIMER, f"keep-alive of {idle_s:.1f} s", idle_s, progress)
        without = self._play(WITHOUT, "no pre-allocation", _AT_ONCE_S, progress)
        self._await_sink(TIMER)
        return [self._account(arm) for arm in (without, timer, foremesh)]

    def _play(self, pool: str, title: str, idle_s: float, progress: Progress) -> PlayedArm:
        """Start the processes of one pool, send it the load, stop them."""
        asks = self.population.live()
        task = progress.add_task(f"{len(asks)} requests, {title}", total=len(asks), news="")
        mesh = DemoMesh(self.processes, pool, self.settings[pool])
        mesh.open("--keep-alive", f"{idle_s:.3f}", "--starts", str(STARTS))

        def report(load: LoadResult) -> None:
            news = ", ".join(f"{count} {name}" for name, count in sorted(load.answers.items()))
            progress.update(task, completed=load.done, news=news)

        load = asyncio.run(self._watched(asks, mesh.url, f"{pool}-", report))
        arm = PlayedArm(pool=pool, title=title, asks=asks, load=load, ended_ms=wall_ms())
        self._await_outcomes(arm)
        mesh.close()
        return arm

    def _account(self, arm: PlayedArm) -> Account:
        history = read_history(self.settings[arm.pool].postgres, HistoryRange(pool=arm.pool))
        return account(arm, history.outcomes, history.instances, self.catalog)

    def _await_outcomes(self, arm: PlayedArm) -> None:
        """Wait until PostgreSQL has an outcome for each request that was sent."""
        postgres, pool = self.settings[arm.pool].postgres, arm.pool
        sent = arm.load.sent + (len(self.population.past()) if pool == FOREMESH else 0)
        sorry = f"PostgreSQL lacks outcomes of {pool}"
        until(lambda: count_outcomes(postgres, pool) >= sent, _WRITE_S, sorry, self.processes.check)

    async def _watched(
        self,
        asks: Sequence[SyntheticRequest],
        url: str,
        prefix: str,
        report: Callable[[LoadResult], None],
    ) -> LoadResult:
        """Send the load, but stop at once when one of the processes ends."""

        async def watch() -> None:
            while True:
                self.processes.check()
                await asyncio.sleep(0.5)

        watching = asyncio.create_task(watch())
        playing = asyncio.create_task(play(asks, url, prefix, report))
        try:
            await asyncio.wait([watching, playing], return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
            return await playing
        finally:
            for task in (watching, playing):
                task.cancel()
            await asyncio.gather(watching, playing, return_exceptions=True)

    def _await_sink(self, pool: str) -> None:
        """Wait until the sink has written all of a flow to PostgreSQL."""

        def written() -> bool:
            groups = group_lags(self.settings[pool])
            return not any(group.records for group in groups if group.stage == "sink")

        sorry = f"the sink of {pool} is still writing to PostgreSQL"
        until(written, _WRITE_S, sorry, self.processes.check)

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
        live = [ask for ask in self.population.live() if ask.at_s >= 0]
        return (
            f"A studio with {plan.styles} styles and {plan.users} synthetic users (seed {plan.seed}),"
            f" fifteen times faster than life; {len(live)} requests in {plan.seconds:g} s, after a"
            f" lead of {LEAD_S:g} s that fills the pool; the same three times, through an Envoy to"
            " processes of this machine. Their starts take what"
            " those of a real model would, also fifteen times faster. Without pre-allocation an"
            f" instance ends {_AT_ONCE_S:g} s after its use. The keep-alive was tuned afterwards on"
            " these requests, to spend what foremesh had spent, and then run like the others."
        )
