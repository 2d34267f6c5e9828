"""How a flow is declared: kinds of records, topics and stages; and what follows from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streams.records import Record

__all__ = ["SINK", "FlowTopology", "RecordKind", "StageRow", "Topic"]

SINK = "sink"  # consumer group of `foremesh sink`


@dataclass(frozen=True, slots=True)
class RecordKind:
    """The registration of a kind of record."""

    record: type
    schema: str  # folder below schemas/
    key: Callable[[Any], str | bytes | None]  # what it is partitioned by


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic: the kinds of record on it, who keeps them, and whether it is compacted."""

    name: str
    kinds: tuple[RecordKind, ...]
    keyed_by: str  # for people
    about: str  # for people
    compacted: bool = False  # only the last record of a key counts
    stored: bool = False  # the sink writes its records to PostgreSQL, to tables declared there
    reported_by: str = ""  # of several readers, the one that dead-letters what is unusable
    records: tuple[type, ...] = field(init=False)  # of the kinds; looked up for every record

    def __post_init__(self) -> None:
        object.__setattr__(self, "records", tuple(kind.record for kind in self.kinds))


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    """A stage: consumer group, agent and metric label of this name."""

    name: str
    reads: tuple[str, ...]  # partitioned with the group; co-partitioned when several
    first: tuple[str, ...] = ()  # of these: read to their end before the others
    views: tuple[str, ...] = ()  # compacted topics that every worker reads whole
    stale_ms: int = 0  # age of a view at which it is refreshed before a record is refused
    writes: tuple[str, ...] = ()
    optional: bool = False  # runs only when asked for
    keeps: bool = True  # state, besides what it has read


class FlowTopology:
    """Topics and stages, and what follows from them.

    A kind of record is registered once, in the row of its topic: the codec finds its schema here,
    producers its topic and key, the sink and the lag of its group what is stored.

    Parameters
    ----------
    topics, stages
        The rows.

    Raises
    ------
    ValueError
        A kind of record or a schema is registered twice.
    """

    def __init__(self, topics: Iterable[Topic], stages: Iterable[StageRow]) -> None:
        self.topics: Mapping[str, Topic] = {topic.name: topic for topic in topics}
        self.stages: Mapping[str, StageRow] = {stage.name: stage for stage in stages}
        kinds = [kind for topic in self.topics.values() for kind in topic.kinds]
        for what, count in Counter(x for k in kinds for x in (k.record, k.schema)).items():
            if count > 1:
                raise ValueError(f"{what} is registered twice")
        self.schemas: Mapping[str, type] = {kind.schema: kind.record for kind in kinds}
        self._keys = {kind.record: kind.key for kind in kinds}
        self._topics = {kind: t.name for t in self.topics.values() for kind in t.records}

    @property
    def stored(self) -> tuple[str, ...]:
        """The topics that the sink reads."""
        return tuple(topic.name for topic in self.topics.values() if topic.stored)

    @property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """The topics that each consumer group reads: those of the stages, and the sink's."""
        return {stage.name: stage.reads for stage in self.stages.values()} | {SINK: self.stored}

    def topic_of(self, record: Record) -> str:
        """The topic that this record belongs on, without the prefix."""
        return self._topics[type(record)]

    def key_of(self, record: Record) -> bytes | None:
        """The key that this record is partitioned by."""
        key = self._keys[type(record)](record)
        return key.encode() if isinstance(key, str) else key
