"""Forgets a user: their state in the stages, their vector, and their rows in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streams.adapters.kafka.clients import connect, producer_config
from streams.adapters.kafka.emptying import members_of
from streams.adapters.kafka.topic_reader import read_topic
from streams.adapters.kafka.topics import check_topics
from streams.adapters.postgres.forgetting import delete_user, rows_of_user
from streams.adapters.postgres.tables import STORED_TABLES
from streams.broker.answered import answered
from streams.engine.changelog_rows import key_text
from streams.engine.partition_store import USER
from streams.engine.partitioning import partition_of
from streams.engine.producer import TransactionalWriter
from streams.errors import StageRuns, TopicsMissing
from streams.flow.components import COMPONENTS, FORGET, KEPT_OF_USERS
from streams.flow.topology import changelog
from streams.settings import Settings

__all__ = ["ForgottenUser", "carry_out", "plan"]

VECTORS = "predictions"
AGAIN = "run this again"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgottenUser:
    """What is kept of a user and can be deleted one by one."""

    user: str
    state: Mapping[str, int]  # rows of each stage that keeps any of users
    tables: Mapping[str, int]  # rows


@answered(AGAIN)
def plan(settings: Settings, user: str) -> ForgottenUser:
    """What there is to forget of a user; changes nothing.

    Raises
    ------
    TopicsMissing
        Topics are not as declared: with other partitions the user would be looked for elsewhere.
    BrokerUnreachable, DatabaseUnreachable, RightsMissing, StateUnreadable
        Kafka or PostgreSQL cannot be asked.
    """
    _check_topics(settings)
    return ForgottenUser(
        user=user,
        state={stage: len(_rows(settings, stage, user)) for stage in KEPT_OF_USERS},
        tables=rows_of_user(settings.postgres, user, STORED_TABLES),
    )


@answered(AGAIN)
def carry_out(settings: Settings, user: str) -> ForgottenUser:
    """Forget a user; what was deleted. Interrupted at any place, it is done by doing it again.

    Raises
    ------
    StageRuns
        A worker has the state of users in its memory.
    TopicsMissing
        As with `plan`.
    BrokerUnreachable, DatabaseUnreachable, RightsMissing, StateUnreadable
        Kafka or PostgreSQL fails.
    """
    _check_topics(settings)
    _check_ended(settings)
    number = partition_of(user.encode(), settings.partitions)
    state = {}
    for stage in KEPT_OF_USERS:
        rows = _rows(settings, stage, user)
        # The id of the stage's own writer: a worker that was started meanwhile is fenced.
        _delete(settings, changelog(stage), number, rows, f"{stage}-{number}")
        state[stage] = len(rows)
    _delete(settings, VECTORS, number, [user.encode()], FORGET)
    tables = delete_user(settings.postgres, user, STORED_TABLES)
    return ForgottenUser(user=user, state=state, tables=tables)


def _check_topics(settings: Settings) -> None:
    if problems := check_topics(settings, COMPONENTS[FORGET].checks):
        raise TopicsMissing("; ".join(problems))


def _check_ended(settings: Settings) -> None:
    groups = {settings.group(name): name for name in COMPONENTS[FORGET].asks_groups}
    there = members_of(connect(settings), groups)
    running = [groups[group] for group, hosts in there.items() if hosts]
    if running:
        raise StageRuns(
            f"Still running: {', '.join(running)}. A worker has users in its memory: end it, wait"
            " a moment if it was killed, and run this again"
        )


def _rows(settings: Settings, stage: str, user: str) -> list[bytes]:
    """The keys of a user's rows in the changelog of a stage: a kind, a slash and the name."""
    there: dict[bytes, bool] = {}
    for message in read_topic(settings, settings.topic(changelog(stage))):
        key = message.key() or b""
        if _is_of(key, user):
            there[key] = message.value() is not None
    return [key for key, kept in there.items() if kept]


def _is_of(key: bytes, user: str) -> bool:
    name = key_text(key)
    return name >= USER and name.partition("/")[2] == user


def _delete(
    settings: Settings, topic: str, number: int, keys: list[bytes], transaction: str
) -> None:
    writer = TransactionalWriter(
        producer_config(settings), settings.group(transaction), settings.topic(topic), number
    )
    writer.write([(key, None) for key in keys])
