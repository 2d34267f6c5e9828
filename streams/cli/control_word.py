"""An operator's word on a pool: how it is read, and put into force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import click

from streams.adapters import codec, kafka
from streams.control import Control
from streams.engine.producer import CheckedProducer
from streams.engine.view import View
from streams.settings import Settings
from streams.topology import key_of

__all__ = ["ANSWER_S", "because", "change", "in_force"]

ANSWER_S = 30.0

because = click.option("--reason", default="", show_envvar=True, help="For whoever asks later.")


def in_force(settings: Settings) -> dict[str, Control]:
    """What operators have said last, by pool."""
    view = View(kafka.client_config(settings), settings.topic("control"), codec.decode)
    try:
        view.catch_up(ANSWER_S)
        found = sorted(view.values.items())
        return {key: said for key, said in found if isinstance(said, Control)}
    finally:
        view.close()


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
