"""Has a stage learn again what it has lost: state that is gone, or that cannot be read."""

from __future__ import annotations

from streams.adapters.kafka.clients import client_config, producer_config
from streams.adapters.kafka.rebuild import take_again
from streams.engine.partition import ChangelogConfig
from streams.engine.partition_store import PartitionStore
from streams.engine.unreadable_state import forget, unreadable_partitions
from streams.flow.topology import STAGES, changelog
from streams.pipeline.assembly import stages_of
from streams.settings import Settings

__all__ = ["rebuild"]


def rebuild(settings: Settings, name: str) -> int:
    """Have a stage take again all that is still on its topics, where its state is of no use.

    State that cannot be read is deleted last: until then it is found again.

    Returns
    -------
    How many records are taken again.
    """
    if not STAGES[name].keeps:
        return 0
    saved = _changelog(settings, name)
    unreadable = unreadable_partitions(saved, range(settings.partitions))
    count = take_again(settings, name, unreadable)
    for number, keys in unreadable.items():
        forget(saved, number, keys)
    return count


def _changelog(settings: Settings, name: str) -> ChangelogConfig:
    stage = stages_of(settings)[name]
    return ChangelogConfig(
        topic=settings.topic(changelog(name)),
        group=settings.group(name),
        client_config=client_config(settings),
        producer_config=producer_config(settings),
        empty=lambda: PartitionStore(stage.encode, stage.decode, settings.state_keys),
    )
