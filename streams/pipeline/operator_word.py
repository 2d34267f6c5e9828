"""An operator's word on a pool: read those in force, publish a changed one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.engine.producer import CheckedProducer
from streams.flow.topology import key_of
from streams.pipeline.last_values import ANSWER_S, last_values
from streams.records.control import Control
from streams.runtime.clock import wall_ms
from streams.settings import Settings

__all__ = ["OperatorWord", "in_force", "publish"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorWord:
    """Who wants a change, and why."""

    by: str
    reason: str


def in_force(settings: Settings) -> dict[str, Control]:
    """The control record in force of each pool that has one."""
    return last_values(settings, "control", Control)


def publish(
    settings: Settings, pool: str, word: OperatorWord, changed: Callable[[Control], Control]
) -> Control:
    """Publish the control record of a pool with a change made to it; what is in force then.

    Raises
    ------
    BrokerUnreachable, TopicsMissing, DeliveryFailed
        It is not known to be in force; publishing it again is safe.
    """
    now = in_force(settings).get(pool, Control(pool=pool))
    new = replace(changed(now), by=word.by, reason=word.reason, at_ms=wall_ms())
    producer = CheckedProducer(producer_config(settings))
    producer.send(settings.topic("control"), key_of(new), codec.encode(new))
    producer.flush(ANSWER_S)
    return new
