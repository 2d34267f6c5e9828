"""The last record of each key of a compacted topic, for what shows or changes it."""

from __future__ import annotations

from typing import TypeVar, get_args

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import client_config, connect
from streams.engine.topic_view import TopicView
from streams.records.catalog import CatalogEntry
from streams.settings import Settings

__all__ = ["ANSWER_S", "entries_in_force", "last_values"]

ANSWER_S = 30.0

T = TypeVar("T")


def last_values(settings: Settings, topic: str, *kinds: type[T]) -> dict[str, T]:
    """The last records of these kinds on a topic (without prefix), by key and in its order.

    Raises
    ------
    BrokerUnreachable, TopicsMissing, RightsMissing
        No broker answers, and what helps; the topic does not exist, or not for this user.
    """
    connect(settings)  # a view says of a broker that it cannot reach no more than that
    view = TopicView(client_config(settings), settings.topic(topic), codec.decode)
    try:
        view.catch_up(ANSWER_S)
        return {key: last for key, last in sorted(view.values.items()) if isinstance(last, kinds)}
    finally:
        view.close()


def entries_in_force(settings: Settings) -> dict[str, CatalogEntry]:
    """The entries on the catalogue's topic, by their key there."""
    return last_values(settings, "catalog", *get_args(CatalogEntry))
