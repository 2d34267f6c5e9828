"""What stands on a compacted topic, for commands that show or change it."""

from __future__ import annotations

from typing import TypeVar

from streams.adapters import codec, kafka
from streams.engine.topic_view import View
from streams.settings import Settings

__all__ = ["ANSWER_S", "last_values"]

ANSWER_S = 30.0

T = TypeVar("T")


def last_values(settings: Settings, topic: str, *kinds: type[T]) -> dict[str, T]:
    """The last records of these kinds on a topic (without prefix), by key and in its order."""
    view = View(kafka.client_config(settings), settings.topic(topic), codec.decode)
    try:
        view.catch_up(ANSWER_S)
        return {key: said for key, said in sorted(view.values.items()) if isinstance(said, kinds)}
    finally:
        view.close()
