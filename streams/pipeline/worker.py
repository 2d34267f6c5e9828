"""The worker: stages as Faust agents, wired to Kafka and metrics."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import client_config, faust_broker_options, producer_config
from streams.adapters.kafka.topics import check_topics
from streams.adapters.metrics.endpoint import before_scrape
from streams.engine.faust.app import StageApp, WorkerApp
from streams.engine.stage_runner import StageRunner
from streams.engine.stage_wiring import StageWiring
from streams.errors import SettingInvalid, TopicsMissing
from streams.flow.components import COMPONENTS
from streams.flow.topology import STAGES
from streams.pipeline.assembly import stages_of
from streams.pipeline.stage_views import stage_view
from streams.pipeline.worker_meter import StageFigures, WorkerMeter
from streams.settings import Settings
from streams.stages.base import Stage
from streams.tracing.opening import tracer_of

__all__ = ["create_app", "stage_names"]

_log = logging.getLogger(__name__)


def stage_names(names: Iterable[str] = ()) -> list[str]:
    """The stages of these names; without any, all that are not optional.

    Raises
    ------
    SettingInvalid
        There is no stage of a name; the message lists those there are.
    """
    wanted = list(names) or [row.name for row in STAGES.values() if not row.optional]
    for name in wanted:
        if name not in STAGES:
            raise SettingInvalid(f"There is no stage {name!r}: use {', '.join(STAGES)}")
    return wanted


def create_app(settings: Settings, stages: Mapping[str, Stage[Any]] | None = None) -> WorkerApp:
    """A Faust application that runs these stages (all that are not optional, by default).

    Raises
    ------
    BrokerUnreachable, TopicsMissing
        No broker answers; topics are not as declared.
    """
    names = stage_names(() if stages is None else stages)
    problems = check_topics(settings, {t for name in names for t in COMPONENTS[name].checks})
    if problems:
        raise TopicsMissing("; ".join(problems))
    if settings.clock == "event":
        _log.warning(
            "Stages in workers of their own do not wait for each other: only"
            " `FOREMESH_CLOCK=event foremesh worker`, without names, does as `foremesh replay`"
        )
    if stages is None:
        made = stages_of(settings)
        stages = {name: made[name] for name in names}
    wiring = _wiring(settings, stages)
    options = faust_broker_options(settings)
    runners = [StageRunner(stage, STAGES[name], settings, wiring) for name, stage in stages.items()]
    before_scrape(StageFigures(stages, [runner.steps.letters for runner in runners]).tell)
    apps = [StageApp(runner, settings, options, wiring.client_config) for runner in runners]
    return WorkerApp(apps, settings)


def _wiring(settings: Settings, stages: Mapping[str, Stage[Any]]) -> StageWiring:
    client = client_config(settings)
    topics = {topic for name in stages for topic in STAGES[name].views}
    return StageWiring(
        codec=codec.installed(),
        client_config=client,
        producer_config=producer_config(settings),
        views={topic: stage_view(settings, topic) for topic in topics},
        meter=WorkerMeter(stages),
        tracer=tracer_of(settings, "worker"),
    )
