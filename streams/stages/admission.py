"""Checks of records at the entry of a stage: finite numbers in range, names and lists bounded.

A record of Avro may hold any value of its type. What no sum, time, encoder or row could hold is
refused here, one function a kind, before a stage changes anything; see `base.admit` for requests.
What our own processes write has the time of one of their clocks or of a record before it: one from
well after the record was produced is refused, so that none moves a pool's time away.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from streams.records import (
    ColdStart,
    Command,
    Demand,
    Feedback,
    Instance,
    LoggedUse,
    MeasuredWarmUp,
    Outcome,
    Prediction,
    Utilisation,
)
from streams.records.catalog import Catalog, Resources
from streams.records.control import Control
from streams.records.requests import MOST_SERVE_MS
from streams.stages.base import AHEAD_MS, MAX_NAME, RecordUnusable, StepContext, named

__all__ = [
    "MOST_INSTANCES",
    "MOST_MS",
    "admit_cold_start",
    "admit_command",
    "admit_control",
    "admit_demand",
    "admit_feedback",
    "admit_instance",
    "admit_logged_use",
    "admit_outcome",
    "admit_prediction",
    "admit_utilisation",
]

MOST_MS = 2**53  # of a time or duration: a float holds each below it exactly
MOST = 2.0**50  # of an amount: sums, squares and products of a million stay finite
MOST_INSTANCES = 10_000  # of a command or pin
MOST_PARTITIONS = 4_096
MOST_ENTRIES = 1_000  # of a list, except those of demand
MOST_SERIES = 25_000  # of demand: what fits into a record of 1 MiB
MOST_TEXT = 4_096  # characters of a reason or address, and of an id that is made of names


def admit_prediction(prediction: Prediction) -> None:
    """Refuse invalid names, times, durations and probabilities."""
    named(prediction, "user", "request_id", "tier", "pool")
    _within("made_ms", prediction.made_ms, MOST_MS)
    _within("expires_ms", prediction.expires_ms, MOST_MS)
    _within("horizon_ms", prediction.horizon_ms, MOST_MS)
    _within("soon", prediction.soon, MOST)
    if prediction.asked:
        named(prediction, "asked")
    _few("services", prediction.services)
    for entry in prediction.services:
        service, probability, within, soon, later, another_day = entry
        known = 0.0 <= probability <= MOST and 0.0 <= within <= MOST and 0.0 <= soon <= MOST
        known &= 0.0 <= later <= MOST and 0.0 <= another_day <= MOST
        if not known or len(service) > MAX_NAME:
            raise RecordUnusable(f"{entry} has no probabilities")


def admit_feedback(feedback: Feedback) -> None:
    """Refuse invalid names, times and start-up times."""
    named(feedback, "user", "request_id", "tier", "pool", "service")
    _within("at_ms", feedback.at_ms, MOST_MS)
    if feedback.warm_ups:
        _measured(feedback.warm_ups)


def admit_outcome(outcome: Outcome) -> None:
    """Refuse invalid names and start-up times."""
    named(outcome, "user", "request_id", "tier", "pool", "service")
    _few("parts", outcome.parts)
    for part in outcome.parts:
        named(part, "service")
        if part.warm_up_ms is not None:
            _within("warm_up_ms", part.warm_up_ms, MOST_MS // 1_000)


def admit_demand(demand: Demand, context: StepContext) -> Demand:
    """Refuse invalid names, times, sums and start-up times; what is known of the rest.

    Series and start-up times of services that the catalogue does not have are left out: no plan
    can be made with them, and they would be kept.
    """
    named(demand, "pool")
    _within("partition", demand.partition, MOST_PARTITIONS)
    _not_ahead("at_ms", demand.at_ms, context)
    _within("horizon_ms", demand.horizon_ms, MOST_MS)
    _within("expires_ms", demand.expires_ms, MOST_MS)
    if len(demand.services) > MOST_SERIES:
        raise RecordUnusable(f"{len(demand.services)} series are more than {MOST_SERIES}")
    for service, tier, expected, seen in demand.services:
        known = 0.0 <= expected <= MOST and 0 <= seen <= MOST_MS
        if not known or len(tier) > MAX_NAME:
            raise RecordUnusable(f"{service!r} for tier {tier[:MAX_NAME]!r} has no sums")
    _measured(demand.warm_ups, MOST_SERIES)
    return _of_known(demand, context.catalog)


def _of_known(demand: Demand, catalog: Catalog) -> Demand:
    composites, constituents = catalog.composites, catalog.constituents
    services = [s for s in demand.services if s.service in composites or s.service in constituents]
    warm_ups = [m for m in demand.warm_ups if m.service in constituents]
    if len(services) == len(demand.services) and len(warm_ups) == len(demand.warm_ups):
        return demand
    return replace(demand, services=tuple(services), warm_ups=tuple(warm_ups))


def admit_utilisation(utilisation: Utilisation, context: StepContext) -> None:
    """Refuse invalid times and resources."""
    named(utilisation, "pool")
    _not_ahead("at_ms", utilisation.at_ms, context)
    _resources("capacity", utilisation.capacity)
    _resources("used", utilisation.used)


def admit_control(control: Control) -> None:
    """Refuse invalid limits and parameters."""
    named(control, "pool")
    _short("reason", control.reason)
    _short("by", control.by)
    _few("pins", control.pins)
    _few("quotas", control.quotas)
    _few("variants", control.variants)
    for pin in control.pins:
        named(pin, "service")
        _few("days of a pin", pin.days)
        if not set(pin.days) <= set(range(1, 8)):
            raise RecordUnusable("days of a pin are not between 1 and 7")
        _within("least of a pin", pin.least, MOST_INSTANCES)
        _within("most of a pin", pin.most or 0, MOST_INSTANCES)
    for quota in control.quotas:
        named(quota, "tier")
    for budget in (control.budget or 0.0, *(quota.budget for quota in control.quotas)):
        if not budget >= 0.0:
            raise RecordUnusable(f"budget {budget} is none")
    for variant in control.variants:
        named(variant, "name")
        _within("price", variant.price, MOST)
        _within("slack", variant.slack, MOST)
        _within("settle_ms", variant.settle_ms, MOST_MS)


def admit_command(command: Command, context: StepContext) -> None:
    """Refuse invalid names, times and instance counts."""
    named(command, "pool", "service")
    _short("command_id", command.command_id)
    _not_ahead("issued_ms", command.issued_ms, context)
    _within("expires_ms", command.expires_ms, MOST_MS)
    _within("count", command.count, MOST_INSTANCES)


def admit_cold_start(start: ColdStart) -> None:
    """Refuse invalid names and an invalid time."""
    named(start, "request_id", "pool", "service")
    _within("at_ms", start.at_ms, MOST_MS)
    _within("serve_ms", start.serve_ms, MOST_SERVE_MS)


def admit_logged_use(use: LoggedUse) -> None:
    """Refuse invalid names and times."""
    named(use, "request_id", "pool", "service")
    _short("instance_id", use.instance_id)
    _within("at_ms", use.at_ms, MOST_MS)
    _within("serve_ms", use.serve_ms, MOST_SERVE_MS)


def admit_instance(instance: Instance) -> None:
    """Refuse invalid names, times and counts."""
    named(instance, "service", "pool")
    for name in ("instance_id", "command_id", "endpoint", "reason"):
        _short(name, getattr(instance, name))
    for name in (
        "started_ms",
        "changed_ms",
        "warm_since_ms",
        "gone_ms",
        "uses",
        "busy_ms",
        "busy_until_ms",
        "serves_until_ms",
    ):
        _within(name, getattr(instance, name) or 0, MOST_MS)


def _within(name: str, value: float, most: float) -> None:
    if not 0 <= value <= most:
        raise RecordUnusable(f"{name} {value} is not between 0 and {most}")


def _not_ahead(name: str, at_ms: int, context: StepContext) -> None:
    _within(name, at_ms, MOST_MS)
    if 0 < context.record_ms < at_ms - AHEAD_MS:
        raise RecordUnusable(
            f"{name} {at_ms} is {at_ms - context.record_ms} ms after the record was produced"
        )


def _few(name: str, values: Collection[object]) -> None:
    if len(values) > MOST_ENTRIES:
        raise RecordUnusable(f"{name} has {len(values)} entries, more than {MOST_ENTRIES}")


def _short(name: str, text: str) -> None:
    if len(text) > MOST_TEXT:
        raise RecordUnusable(f"{name} has {len(text)} characters, more than {MOST_TEXT}")


def _measured(warm_ups: Collection[MeasuredWarmUp], most: int = MOST_ENTRIES) -> None:
    if len(warm_ups) > most:
        raise RecordUnusable(f"{len(warm_ups)} start-up times are more than {most}")
    for m in warm_ups:
        named(m, "service")
        _within("count of start-ups", m.count, MOST_MS)
        _within("total_ms", m.total_ms, MOST_MS)
        _within("squares_ms2", m.squares_ms2, 2.0 ** (2 * 53))


def _resources(name: str, resources: Resources) -> None:
    for amount in (resources.cpu, resources.memory, resources.bandwidth):
        _within(name, amount, MOST)
