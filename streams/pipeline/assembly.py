"""Builds the stages of the flow from the settings, for workers and replays alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streams.allocator.stage import AllocatorConfig, AllocatorStage
from streams.models.next_request.mixture import MixtureConfig
from streams.settings import Settings
from streams.stages.aggregator.stage import Aggregator, AggregatorConfig
from streams.stages.base import Stage
from streams.stages.feedback import FeedbackStage
from streams.stages.interceptor import Interceptor
from streams.stages.planned_provisioner import PlannedProvisioner
from streams.stages.profiler import ProfilerStage

__all__ = ["stages_of"]


def stages_of(settings: Settings) -> Mapping[str, Stage[Any]]:
    """A stage for each row of `topology.STAGES`, by its name and in the order of the flow."""
    stages: tuple[Stage[Any], ...] = (
        ProfilerStage(settings.horizon_ms, MixtureConfig(rnn=settings.rnn == "on")),
        Aggregator(AggregatorConfig(tick_ms=settings.tick_ms)),
        AllocatorStage(
            AllocatorConfig(
                tick_ms=settings.tick_ms,
                horizon_ms=settings.horizon_ms,
                serve_ms=settings.serve_ms,
            )
        ),
        Interceptor(),
        FeedbackStage(),
        PlannedProvisioner(),
    )
    return {stage.name: stage for stage in stages}
