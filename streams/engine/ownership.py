"""The partitions that a worker owns, and the offsets that may be committed for them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping

from faust.types import TP

from streams.engine.partition import ChangelogConfig, OwnedPartition
from streams.engine.read_first import ReadFirst
from streams.settings import Settings

__all__ = ["OwnedPartitions"]


class OwnedPartitions:
    """The partitions of one stage that this worker owns; used in the event loop alone.

    Parameters
    ----------
    settings
        How much of a partition may be unsaved.
    topics
        What the stage reads: name on the broker -> name without prefix.
    changelog
        Where the state is kept.
    first
        Topics that are read to their end before the others, without prefix.

    Attributes
    ----------
    stepping
        Held during a batch, a tick, and the encoding of a checkpoint: one at a time.
    committable
        Offsets before which everything is delivered and saved.
    """

    def __init__(
        self,
        settings: Settings,
        topics: Mapping[str, str],
        changelog: ChangelogConfig,
        first: Collection[str] = (),
    ) -> None:
        self.stepping = asyncio.Lock()
        self.committable: Mapping[TP, int] = {}
        self._limits = settings.batch_records, settings.batch_bytes
        self._topics, self._changelog, self._first = topics, changelog, first
        self._by_number: dict[int, OwnedPartition] = {}

    def assign(self, tps: Iterable[TP], generation: int) -> list[OwnedPartition]:
        """Take ownership; the partitions that are new here, whose state is to be rebuilt."""
        numbers = {tp.partition for tp in tps if tp.topic in self._topics}
        new = [
            OwnedPartition(
                number, generation, self._changelog.empty(), first=ReadFirst(self._first)
            )
            for number in numbers - self._by_number.keys()
        ]
        self._by_number |= {owned.number: owned for owned in new}
        return new

    def revoke(self, tps: Iterable[TP]) -> None:
        """Give up ownership, and drop state and offsets."""
        gone = set(tps)
        self.committable = {tp: at for tp, at in self.committable.items() if tp not in gone}
        for number in {tp.partition for tp in gone} & self._by_number.keys():
            self._by_number.pop(number).revoke()

    def revoke_all(self) -> None:
        """Give up ownership of every partition."""
        self.revoke({TP(topic, number) for topic in self._topics for number in self._by_number})

    def get(self, number: int) -> OwnedPartition | None:
        """The partition of this number, if it is owned."""
        return self._by_number.get(number)

    def ready(self) -> list[OwnedPartition]:
        """Those whose state is there."""
        return [owned for owned in self._by_number.values() if owned.ready]

    def full(self, owned: OwnedPartition) -> bool:
        """Whether so much of a partition is unsaved that a checkpoint comes first."""
        return owned.full(*self._limits)

    def committable_of(self, number: int) -> Mapping[str, int]:
        """The committable offsets of a partition, by topic without prefix."""
        return {
            self._topics[tp.topic]: offset
            for tp, offset in self.committable.items()
            if tp.partition == number
        }

    def mark_committable(self, owned: OwnedPartition, position: Mapping[str, int]) -> list[float]:
        """Let offsets be committed up to a saved position.

        Parameters
        ----------
        position
            Topic without prefix -> offset of the next record.

        Returns
        -------
        list of float
            When each batch that is now saved was fetched (monotonic).
        """
        owned.failures = 0
        if owned.revoked:
            return []
        offsets = {
            topic: position[name] for topic, name in self._topics.items() if name in position
        }
        saved = {TP(topic, owned.number): offset for topic, offset in offsets.items()}
        self.committable = {**self.committable, **saved}
        return owned.drop_saved(offsets)
