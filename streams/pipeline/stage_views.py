"""The topics that stages see whole."""

from __future__ import annotations

from typing import Any

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import client_config
from streams.engine.topic_view import TopicView
from streams.engine.view_records import view_decoder
from streams.flow.topology import key_of
from streams.records import Record
from streams.settings import Settings

__all__ = ["stage_view"]


def stage_view(settings: Settings, topic: str) -> TopicView[Any]:
    """The view of a topic (without prefix): what stages can use of it, by the records' keys."""
    decode = view_decoder(topic, codec.decode)
    return TopicView(client_config(settings), settings.topic(topic), decode, _name)


def _name(record: Record) -> str:
    return (key_of(record) or b"").decode()
