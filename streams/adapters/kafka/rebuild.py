"""Has a stage that has lost its state take again what is still on its topics."""

from __future__ import annotations

from collections.abc import Collection

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.adapters.kafka.clients import connect
from streams.adapters.kafka.groups import GroupInUse, commit_for, members
from streams.adapters.kafka.lag import committed_offsets
from streams.broker.offsets import Offsets, end_offsets, first_offsets
from streams.errors import StageRuns
from streams.flow.topology import STAGES, changelog
from streams.settings import Settings

__all__ = ["take_again"]

_FIX = "end its workers, wait a moment if one was killed, and run this again"


def take_again(settings: Settings, stage: str, unreadable: Collection[int] = ()) -> int:
    """Set a stage back to the first records of the partitions whose state is gone.

    Its changelog has nothing of them, although its group has committed offsets: it was emptied, or
    deleted and made anew. Other partitions stay as they are.

    Parameters
    ----------
    settings, stage
        Whose group is set back.
    unreadable
        Partitions of which the changelog has state that cannot be used.

    Returns
    -------
    How many records are taken again.

    Raises
    ------
    StageRuns
        A worker runs the stage.
    BrokerUnreachable
        No broker answers.
    """
    row, client = STAGES[stage], connect(settings)
    if not row.keeps:
        return 0
    group, names = settings.group(stage), {*map(settings.topic, row.reads)}
    without = {*_empty(client, settings.topic(changelog(stage))), *unreadable}
    committed = committed_offsets(client, group)
    first = {
        at: offset
        for at, offset in first_offsets(client, names).items()
        if at[1] in without and offset < committed.get(at, 0)
    }
    if first or unreadable:
        _commit(client, group, first)
    return sum(committed[at] - offset for at, offset in first.items())


def _empty(client: AdminClient, topic: str) -> set[int]:
    """The partitions of a topic without a record."""
    ends = end_offsets(client, [topic])
    return {at[1] for at, offset in first_offsets(client, [topic]).items() if offset == ends[at]}


def _commit(client: AdminClient, group: str, offsets: Offsets) -> None:
    try:
        if count := len(members(client, group)):
            raise StageRuns(f"Group {group} has {count} members: {_FIX}")
        if offsets:
            commit_for(client, {group: offsets})
    except GroupInUse as error:
        raise StageRuns(f"Group {group} has members: {_FIX}") from error
    except KafkaException as error:
        raise StageRuns(f"Group {group} cannot be set back ({error}): {_FIX}") from error
