"""An operator's word on a pool: how it is read, and put into force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import click

from streams.adapters import codec, kafka
from streams.cli.last_values import ANSWER_S, last_values
from streams.engine.producer import CheckedProducer
from streams.flow.topology import key_of
from streams.records.control import Control
from streams.settings import Settings

__all__ = ["because", "change", "in_force"]

because = click.option("--reason", default="", show_envvar=True, help="For whoever asks later.")


def in_force(settings: Settings) -> dict[str, Control]:
    """What operators have said last, by pool."""
    return last_values(settings, "control", Control)


def change(
    settings: Settings, pool: str, reason: str, changed: Callable[[Control], Control]
) -> None:
    """Put a pool's control into force, changed.

    Raises
    ------
    BrokerUnreachable, TopicsMissing, DeliveryFailed
        It is not known to be in force; saying it again is safe.
    """
    now = in_force(settings).get(pool, Control(pool=pool))
    new = replace(changed(now), reason=reason)
    producer = CheckedProducer(kafka.producer_config(settings))
    producer.send(settings.topic("control"), key_of(new), codec.encode(new))
    producer.flush(ANSWER_S)
    click.echo(f"{pool}: {new.mode.value}{', paused' if new.paused else ''}, in force")
