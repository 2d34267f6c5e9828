"""An operator's word on a pool: read those in force, publish a changed one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.engine.producer import CheckedProducer
from streams.errors import NameUnknown
from streams.flow.topology import key_of
from streams.pipeline.last_values import ANSWER_S, entries_in_force, last_values
from streams.records.catalog import Catalog
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
    NameUnknown
        It names a pool, constituent or tier for the first time that the catalogue does not have, or
        takes back what is not in force.
    BrokerUnreachable, TopicsMissing, DeliveryFailed
        It is not known to be in force; publishing it again is safe.
    """
    now = in_force(settings).get(pool)
    try:
        new = changed(now or Control(pool=pool))
    except LookupError as error:
        raise NameUnknown(f"{error}: see `foremesh control show`") from None
    catalog = Catalog.of(entries_in_force(settings).values())
    if unknown := next(_unknown_names(now, new, catalog), None):
        raise NameUnknown(f"the catalogue has {unknown}: see `foremesh catalog show`")
    new = replace(new, by=word.by, reason=word.reason, at_ms=wall_ms())
    producer = CheckedProducer(producer_config(settings))
    producer.send(settings.topic("control"), key_of(new), codec.encode(new))
    producer.flush(ANSWER_S)
    return new


def _unknown_names(now: Control | None, new: Control, catalog: Catalog) -> Iterator[str]:
    """What `new` names that `now` does not and the catalogue has not, in words.

    A kind of which the catalogue has none is not checked.
    """
    before = _names(now) if now else {}
    known = {
        "pool": catalog.pools,
        "constituent": catalog.constituents,
        "tier": catalog.tiers,
    }
    for kind, names in _names(new).items():
        for name in sorted(names - before.get(kind, set())):
            if known[kind] and name not in known[kind]:
                close = get_close_matches(name, known[kind], 1)
                hint = f", but {close[0]!r}" if close else ""
                yield f"no {kind} {name!r}{hint}"


def _names(control: Control) -> dict[str, set[str]]:
    return {
        "pool": {control.pool},
        "constituent": {pin.service for pin in control.pins},
        "tier": {quota.tier for quota in control.quotas},
    }
