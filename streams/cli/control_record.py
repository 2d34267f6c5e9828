"""Control records of pools: read those in force, publish a changed one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import click

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.cli.console import echo
from streams.cli.last_values import ANSWER_S, last_values
from streams.engine.producer import CheckedProducer
from streams.flow.topology import key_of
from streams.records.control import Control
from streams.settings import Settings

__all__ = ["change", "in_force", "reason_option"]

reason_option = click.option(
    "--reason", default="", show_envvar=True, help="Reason for the change, kept with it."
)


def in_force(settings: Settings) -> dict[str, Control]:
    """The control record in force of each pool that has one."""
    return last_values(settings, "control", Control)


def change(
    settings: Settings, pool: str, reason: str, changed: Callable[[Control], Control]
) -> None:
    """Publish the control record of a pool with a change made to it.

    Raises
    ------
    BrokerUnreachable, TopicsMissing, DeliveryFailed
        It is not known to be in force; publishing it again is safe.
    """
    now = in_force(settings).get(pool, Control(pool=pool))
    new = replace(changed(now), reason=reason)
    producer = CheckedProducer(producer_config(settings))
    producer.send(settings.topic("control"), key_of(new), codec.encode(new))
    producer.flush(ANSWER_S)
    echo(f"{pool}: {new.mode.value}{', paused' if new.paused else ''}, in force")
