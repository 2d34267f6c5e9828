"""An operator's word on a pool: read those in force, publish a changed one."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.engine.producer import TransactionalWriter
from streams.errors import DeliveryFailed, NameUnknown, SettingInvalid
from streams.flow.components import CONTROL
from streams.flow.topology import key_of
from streams.pipeline.last_values import ANSWER_S, entries_in_force, last_values
from streams.records.catalog import Catalog
from streams.records.control import Control
from streams.runtime.clock import wall_ms
from streams.settings import Settings
from streams.stages.admission import admit_control
from streams.stages.base import RecordUnusable

__all__ = ["OperatorWord", "in_force", "publish"]

MOST_PAUSE_S = 2.0  # publishing takes half a second

# Of a client that is fenced librdkafka prints that this is fatal; here it is usual, and raised.
_UNHEARD = logging.getLogger(f"{__name__}.client")
_UNHEARD.disabled = True


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

    Of those who publish at the same time each makes its change to what the other has published.

    Raises
    ------
    NameUnknown
        It names a pool, constituent or tier for the first time that the catalogue does not have, or
        takes back what is not in force.
    SettingInvalid
        It is more than the allocator takes.
    BrokerUnreachable, TopicsMissing, DeliveryFailed
        It is not known to be in force; publishing it again is safe.
    """
    catalog = Catalog.of(entries_in_force(settings).values())
    until_s = time.monotonic() + ANSWER_S
    while True:
        try:
            return _publish(settings, pool, word, changed, catalog)
        except DeliveryFailed:  # as a rule since somebody else has begun
            if time.monotonic() > until_s:
                raise
            time.sleep(random.uniform(0, MOST_PAUSE_S))  # noqa: S311  # so that one goes first


def _publish(
    settings: Settings,
    pool: str,
    word: OperatorWord,
    changed: Callable[[Control], Control],
    catalog: Catalog,
) -> Control:
    """Do it, if nobody else begins before it is done: else `DeliveryFailed` is raised."""
    topic = settings.topic("control")
    config = {**producer_config(settings), "logger": _UNHEARD}
    writer = TransactionalWriter(config, settings.group(CONTROL), topic)
    now = in_force(settings).get(pool)
    try:
        new = changed(now or Control(pool=pool))
    except LookupError as error:
        raise NameUnknown(f"{error}: see `foremesh control show`") from None
    if unknown := next(_unknown_names(now, new, catalog), None):
        raise NameUnknown(f"the catalogue has {unknown}: see `foremesh catalog show`")
    new = replace(new, by=word.by, reason=word.reason, at_ms=wall_ms())
    try:
        admit_control(new)  # as the allocator does, which would go on with what was in force
    except RecordUnusable as error:
        raise SettingInvalid(f"Nothing is changed: {error}") from None
    try:
        writer.write([(key_of(new), codec.encode(new))])
    except DeliveryFailed:
        if in_force(settings).get(pool) != new:  # who fences a commit may do so as it is done
            raise
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
