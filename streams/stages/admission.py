"""Checks of records at the entry of a stage: numbers must be finite, in range and encodable.

A record of Avro may hold any number of its type. What no sum, time or encoder could hold is
refused here, one function a kind, before a stage changes anything; see `base.admit` for requests.
"""

from __future__ import annotations

from collections.abc import Iterable

from streams.records import (
    ColdStart,
    Command,
    Demand,
    Feedback,
    MeasuredWarmUp,
    Outcome,
    Prediction,
    Utilisation,
)
from streams.records.catalog import Resources
from streams.records.control import Control
from streams.stages.base import RecordUnusable

__all__ = [
    "MOST_MS",
    "admit_cold_start",
    "admit_command",
    "admit_control",
    "admit_demand",
    "admit_feedback",
    "admit_outcome",
    "admit_prediction",
    "admit_utilisation",
]

MOST_MS = 2**53  # of a time or duration: a float holds each below it exactly
MOST = 2.0**100  # of an amount: sums and squares of a million stay finite
MOST_INSTANCES = 10_000  # of a command or pin
MOST_PARTITIONS = 2**20


def admit_prediction(prediction: Prediction) -> None:
    """Refuse invalid times, durations and probabilities."""
    _within("made_ms", prediction.made_ms, MOST_MS)
    _within("expires_ms", prediction.expires_ms, MOST_MS)
    _within("horizon_ms", prediction.horizon_ms, MOST_MS)
    for entry in prediction.services:
        if not (0.0 <= entry.within <= MOST and 0.0 <= entry.probability <= MOST):
            raise RecordUnusable(f"{entry} has no probabilities")


def admit_feedback(feedback: Feedback) -> None:
    """Refuse invalid start-up times."""
    if feedback.warm_ups:
        _measured(feedback.warm_ups)


def admit_outcome(outcome: Outcome) -> None:
    """Refuse invalid start-up times."""
    for part in outcome.parts:
        if part.warm_up_ms is not None:
            _within("warm_up_ms", part.warm_up_ms, MOST_MS // 1_000)


def admit_demand(demand: Demand) -> None:
    """Refuse invalid times, sums and start-up times."""
    _within("partition", demand.partition, MOST_PARTITIONS)
    _within("at_ms", demand.at_ms, MOST_MS)
    _within("horizon_ms", demand.horizon_ms, MOST_MS)
    _within("expires_ms", demand.expires_ms, MOST_MS)
    for s in demand.services:
        if not (0.0 <= s.expected <= MOST and 0 <= s.seen <= MOST_MS):
            raise RecordUnusable(f"{s} has no sums")
    _measured(demand.warm_ups)


def admit_utilisation(utilisation: Utilisation) -> None:
    """Refuse invalid times and resources."""
    _within("at_ms", utilisation.at_ms, MOST_MS)
    _resources("capacity", utilisation.capacity)
    _resources("used", utilisation.used)


def admit_control(control: Control) -> None:
    """Refuse invalid limits and parameters."""
    for pin in control.pins:
        _within("least of a pin", pin.least, MOST_INSTANCES)
        _within("most of a pin", pin.most or 0, MOST_INSTANCES)
    for budget in (control.budget or 0.0, *(quota.budget for quota in control.quotas)):
        if not budget >= 0.0:
            raise RecordUnusable(f"budget {budget} is none")
    for variant in control.variants:
        _within("price", variant.price, MOST)
        _within("slack", variant.slack, MOST)
        _within("settle_ms", variant.settle_ms, MOST_MS)


def admit_command(command: Command) -> None:
    """Refuse invalid times and instance counts."""
    _within("issued_ms", command.issued_ms, MOST_MS)
    _within("expires_ms", command.expires_ms, MOST_MS)
    _within("count", command.count, MOST_INSTANCES)


def admit_cold_start(start: ColdStart) -> None:
    """Refuse an invalid time."""
    _within("at_ms", start.at_ms, MOST_MS)


def _within(name: str, value: float, most: float) -> None:
    if not 0 <= value <= most:
        raise RecordUnusable(f"{name} {value} is not between 0 and {most}")


def _measured(warm_ups: Iterable[MeasuredWarmUp]) -> None:
    for m in warm_ups:
        _within("count of start-ups", m.count, MOST_MS)
        _within("total_ms", m.total_ms, MOST_MS)
        _within("squares_ms2", m.squares_ms2, 2.0 ** (2 * 53))


def _resources(name: str, resources: Resources) -> None:
    for amount in (resources.cpu, resources.memory, resources.bandwidth):
        _within(name, amount, MOST)
