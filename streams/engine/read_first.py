"""Topics of a partition that are read to their end before anything else is decided on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["ReadFirst"]


class ReadFirst:
    """Whether these topics were fetched, and processed, up to where they ended at first.

    What was fetched is processed in the order of fetches: so once all are at their end, the other
    topics may be fetched, and a tick waits until what was fetched is processed too.

    Parameters
    ----------
    topics
        Without prefix.
    """

    def __init__(self, topics: Iterable[str] = ()) -> None:
        self._unread = set(topics)
        self._fetched = dict[str, int]()  # of these: offset after the last record fetched

    @property
    def read(self) -> bool:
        """Whether all of them were fetched to their end."""
        return not self._unread

    def fetched(self, topic: str, next_offset: int) -> None:
        """Records of a topic were fetched."""
        if topic in self._unread:
            self._fetched[topic] = next_offset

    def reached(self, topic: str) -> None:
        """A topic was fetched to its end."""
        self._unread.discard(topic)

    def processed(self, position: Mapping[str, int]) -> bool:
        """Whether all that was fetched of them before their ends is processed.

        Parameters
        ----------
        position
            Topic -> offset of the next record to process.
        """
        if self.read and self._fetched:
            behind = {t: at for t, at in self._fetched.items() if position.get(t, 0) < at}
            self._fetched = behind
        return self.read and not self._fetched
