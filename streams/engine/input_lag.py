"""How many records of its input a partition has still to handle."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["InputLag"]


@dataclass(slots=True)
class InputLag:
    """Counts by offsets, except behind the last record: only markers of transactions are there."""

    _handled: dict[str, int] = field(default_factory=dict)  # offset after the last, by topic
    _ends: dict[str, int] = field(default_factory=dict)  # offset after the last there is
    _bare: dict[str, tuple[int, int]] = field(default_factory=dict)  # offsets without a record
    _held_back: dict[str, int] = field(default_factory=dict)  # behind an open transaction

    def handle(self, topic: str, next_offset: int, end_offset: int) -> None:
        """All before `next_offset` are handled; the topic ended at `end_offset` when they came."""
        after, until = self._bare.get(topic, (0, 0))
        self._handled[topic] = next_offset
        self._held_back.pop(topic, None)
        self._ends[topic] = after if end_offset <= until else end_offset

    def reach(self, topic: str, after: int, until: int, held_back: int = 0) -> None:
        """The last record is before `after`, and none follows up to `until`.

        There the topic ends, but for so many records that may not be read yet.
        """
        self._bare[topic] = (after, until)
        self._ends[topic] = after
        self._held_back[topic] = held_back

    @property
    def records(self) -> int:
        """Of all topics together; of one of which nothing was handled yet only what is held back."""
        ends = self._ends.items()
        to_handle = sum(max(0, end - self._handled.get(topic, end)) for topic, end in ends)
        return to_handle + sum(self._held_back.values())
