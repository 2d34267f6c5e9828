"""Dead letters on Kafka, and which of their records were replayed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from streams.adapters.avro import codec
from streams.adapters.kafka.topic_reader import read_topic
from streams.flow.declaration import SINK
from streams.flow.topology import TOPICS
from streams.records import DeadLetter
from streams.settings import Settings

__all__ = ["REPLAY_HEADER", "DeadLetterAtOffset", "letters", "replayed"]

REPLAY_HEADER = "foremesh-replay-of"  # on a replayed record: place of its dead letter


@dataclass(frozen=True, slots=True)
class DeadLetterAtOffset:
    """A dead letter and its place."""

    partition: int
    offset: int
    stored_ms: int  # timestamp of the broker
    letter: DeadLetter

    @property
    def name(self) -> bytes:
        """Its value of `REPLAY_HEADER`."""
        return f"{self.partition}/{self.offset}".encode()

    @property
    def topic(self) -> str | None:
        """The topic that the record came from, without prefix; None when that was a file."""
        return self.letter.topic if self.letter.topic in TOPICS else None


def letters(settings: Settings) -> Iterator[DeadLetterAtOffset]:
    """All dead letters as of now, partition by partition."""
    for message in read_topic(settings, settings.topic("dead-letters")):
        try:
            record = codec.decode(message.value() or b"")
        except codec.RecordUndecodable:
            continue
        if isinstance(record, DeadLetter):
            letter = _with_bare_topic(record, settings.prefix)
            at_ms = message.timestamp()[1]
            yield DeadLetterAtOffset(message.partition() or 0, message.offset() or 0, at_ms, letter)


def _with_bare_topic(letter: DeadLetter, prefix: str) -> DeadLetter:
    """The same letter with the name of its topic without prefix: old ones of the sink have one."""
    bare = letter.topic.removeprefix(prefix)
    return replace(letter, topic=bare) if letter.stage == SINK and bare in TOPICS else letter


def replayed(settings: Settings, topic: str, since_ms: int) -> set[bytes]:
    """The names of the dead letters whose records were replayed to `topic` since then."""
    found: set[bytes] = set()
    for message in read_topic(settings, settings.topic(topic), since_ms=since_ms):
        name = dict(message.headers() or ()).get(REPLAY_HEADER)
        if isinstance(name, bytes):
            found.add(name)
    return found
