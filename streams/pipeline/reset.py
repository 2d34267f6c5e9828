"""Has pools begin anew: what a reset would clear, and clearing it.

State, groups and most topics are of all pools of a prefix together: a user's requests teach the
same models whatever pool they name. So all pools of a prefix are reset, or none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from streams.adapters.kafka.clients import connect
from streams.adapters.kafka.emptying import (
    are_emptied,
    as_compacted,
    as_emptied,
    empty_topics,
    forget_groups,
    held_offsets,
    members_of,
)
from streams.adapters.postgres.emptying import empty_tables, rows_by_pool
from streams.adapters.postgres.rows import StoredTable
from streams.adapters.postgres.tables import TABLES
from streams.broker.answered import answered
from streams.errors import PoolsShared, SettingInvalid, StageRuns, TopicsMissing
from streams.flow.components import COMPONENTS, EVENT_TIME, POOL_GROUP, SAID
from streams.flow.topology import TOPICS, TOPOLOGY
from streams.pipeline.last_values import last_values
from streams.records.catalog import Pool
from streams.settings import Settings

__all__ = ["ResetPlan", "carry_out", "plan"]

CLEARED = COMPONENTS["reset"].empties
RESET = COMPONENTS["reset"].resets
AGAIN = "run this again"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetPlan:
    """What a reset would clear; names are without prefix."""

    pools: tuple[str, ...]
    topics: Mapping[str, int]  # records, markers of transactions included
    groups: tuple[str, ...]  # those that exist
    tables: Mapping[str, int]  # rows
    running: Mapping[str, tuple[str, ...]]  # group -> hosts of its members

    def check(self) -> None:
        """Raise `StageRuns` if something that would write runs, and say what."""
        if self.running:
            said = [f"{name} on {', '.join(hosts)}" for name, hosts in self.running.items()]
            raise StageRuns(
                f"Still running: {'; '.join(said)}. End it, wait a moment if it was killed, and"
                " run this again"
            )


@answered(AGAIN)
def plan(settings: Settings, pools: Sequence[str]) -> ResetPlan:
    """What a reset of these pools would clear; changes nothing.

    Raises
    ------
    PoolsShared, SettingInvalid
        There are other pools on the same topics, or in the same tables; there is no such pool.
    BrokerUnreachable, DatabaseUnreachable, TopicsMissing, RightsMissing
        Kafka or PostgreSQL cannot be asked.
    """
    rows = rows_by_pool(settings.postgres, _tables())
    stored = {pool for counts in rows.values() for pool in counts if pool}
    declared = {pool.pool for pool in last_values(settings, "catalog", Pool).values()}
    client = connect(settings)
    held = held_offsets(client, [settings.topic(name) for name in CLEARED])
    if missing := [name for name in CLEARED if settings.topic(name) not in held]:
        raise TopicsMissing(
            f"Not there, or not for this user: the topics {', '.join(missing)}. Run `foremesh topics"
            " create`, or give the rights of `foremesh acl print reset`"
        )
    # A pool that was in tables alone is unknown once these are empty: it is asked for to go on.
    resumed = are_emptied(client, [settings.topic(name) for name in RESET])
    _check_pools(pools, stored | declared, resumed=resumed)
    members = _members(settings, pools)
    return ResetPlan(
        pools=tuple(pools),
        topics={name: held[settings.topic(name)] for name in CLEARED},
        groups=tuple(members),
        tables={table: Counter.total(counts) for table, counts in rows.items()},
        running={name: tuple(hosts) for name, hosts in members.items() if hosts},
    )


@answered(AGAIN)
def carry_out(settings: Settings, pools: Sequence[str]) -> ResetPlan:
    """Reset these pools; what was cleared. Interrupted at any place, it is done by doing it again.

    Raises
    ------
    PoolsShared, SettingInvalid, TopicsMissing
        As with `plan`.
    StageRuns
        Something that would write runs, or was started meanwhile.
    BrokerUnreachable, DatabaseUnreachable, RightsMissing
        Kafka or PostgreSQL fails; workers do not start until it is done.
    """
    # Made here: while somebody thought about an earlier plan, a worker may have been started.
    wanted = plan(settings, pools)
    wanted.check()
    client = connect(settings)
    topics = [settings.topic(name) for name in CLEARED]
    compacted = [settings.topic(name) for name in RESET]
    forget_groups(client, [settings.group(name) for name in wanted.groups])
    as_emptied(client, compacted)
    empty_topics(client, topics)
    plan(settings, pools).check()  # what was started meanwhile may have written
    # The policy is last: until then no worker starts. If it came before the tables and the reset
    # ended between, workers would go on beside the rows of before, and nobody would be told.
    empty_tables(settings.postgres, _tables())
    as_compacted(client, compacted)
    return wanted


def _check_pools(named: Collection[str], there: set[str], *, resumed: bool) -> None:
    unknown = sorted({*named} - there)
    if unknown and there and not resumed:
        raise SettingInvalid(
            f"There is no pool {', '.join(unknown)}: there is {', '.join(sorted(there))}"
        )
    if others := sorted(there - {*named}):
        raise PoolsShared(
            f"Not without {', '.join(others)}: pools of one prefix and database share what is"
            " learnt of users. Name these too, or run each pool with a FOREMESH_PREFIX and a"
            " database of its own"
        )


def _members(settings: Settings, pools: Iterable[str]) -> dict[str, list[str]]:
    names = [*TOPOLOGY.groups, EVENT_TIME, *(POOL_GROUP + pool for pool in pools)]
    by_group = {settings.group(name): name for name in names}
    found = members_of(connect(settings), by_group)
    return {by_group[group]: hosts for group, hosts in found.items()}


def _tables() -> tuple[StoredTable, ...]:
    """The tables of what the flow has made."""
    said = {kind for name in SAID for kind in TOPICS[name].records}
    return tuple(table for table in TABLES if table.record not in said)
