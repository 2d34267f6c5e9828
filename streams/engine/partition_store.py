"""The state of one partition: a mapping that is checkpointed to and rebuilt from its changelog.

Why recovery is exact. The rows changed since the last save and the input offsets that they include
(the row `POSITION`) are written in one Kafka transaction. A reader of committed records sees both
or neither; so after a crash at any point the rows are those of a prefix of the input, and the
position is its end: records before it are skipped, records after it are processed again on the
state that they met the first time. The writer of a partition has a transactional id of its own,
which fences the partition's earlier owner before the changelog is read. Aborted rows never replace
committed ones, also under compaction. So a step may change any number of rows, its user's and
shared ones, and each of them counts it once.

Why undo is exact. The rows of the last checkpoint are bytes, which no step can change. Rows
accessed since are decoded copies on top of them, and `restore` drops the copies.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from itertools import count
from typing import Any, Generic, TypeVar

from streams.engine.changelog_rows import check_sizes, key_text
from streams.engine.position_row import POSITION, position_of, position_row
from streams.errors import StateUnreadable

__all__ = ["POSITION", "SHARED", "USER", "PartitionStore"]

S = TypeVar("S")

SHARED = "\x00"  # first character of keys that belong to no user
USER = "\x01"  # keys of users are no less
LIVE = 20_000  # decoded values kept over a checkpoint; with more, only bytes are kept


class PartitionStore(MutableMapping[str, S], Generic[S]):
    """State by key, with what is needed to go back to the last checkpoint.

    A value that was changed in place has to be assigned again, else the change is not saved.

    Parameters
    ----------
    encode, decode
        Between a value and its bytes, see `stages.base.Stage`. No value is None.
    limit
        Most keys. With more, those assigned longest ago are evicted, shared ones last.
    live
        Most decoded values kept over a checkpoint.

    Attributes
    ----------
    position
        Input topic -> offset of the next record.
    topics
        Input topic -> id of the topic that the position is in, as far as it is known.
    journal
        What was processed since the last checkpoint, in order; appended to by the caller, emptied
        by a checkpoint.
    """

    def __init__(
        self,
        encode: Callable[[S], bytes],
        decode: Callable[[bytes], S],
        limit: int,
        live: int = LIVE,
    ) -> None:
        self._encode, self._decode = encode, decode
        self._limit, self._most_live = limit, live
        # Rows as of the last checkpoint, fixed until the next; those changed last are at the end.
        self._users: OrderedDict[str, bytes] = OrderedDict()
        self._shared: OrderedDict[str, bytes] = OrderedDict()
        self._unsaved: dict[str, None] = {}  # checkpointed, not yet returned by `save`; in order
        # Since that checkpoint.
        self._live: dict[str, S] = {}  # decoded and accessed: may differ from the bytes
        self._idle: dict[str, S] = {}  # decoded and not accessed: the same as the bytes
        self._changed: dict[str, int] = {}  # key -> sequence number of latest unsaved change
        self._made: set[str] = set()  # changed keys without bytes
        self._gone: dict[str, None] = {}  # deleted or evicted keys with bytes
        # Users and shared rows with bytes, oldest change first; consumed by eviction.
        self._eviction_order: tuple[Iterator[str], Iterator[str]] | None = None
        self._changes = count()
        self.position: dict[str, int] = {}
        self.topics: dict[str, str] = {}
        self.journal: list[Any] = []

    # ------------------------------------------------------------------- the mapping

    def __getitem__(self, key: str) -> S:
        found = self._live.get(key)
        if found is None:
            found = self._access(key)
        if found is None:
            raise KeyError(key)
        return found

    def get(self, key: str, default: Any = None) -> Any:
        """As `Mapping.get`, in one call: a step makes dozens, mostly of rows in `_live`."""
        found = self._live.get(key)
        if found is None:
            found = self._access(key)
        return default if found is None else found

    def __setitem__(self, key: str, value: S) -> None:
        if key not in self._live:
            self._first_assigned(key)
        self._live[key] = value
        self._changed[key] = next(self._changes)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._drop(key)

    def __contains__(self, key: object) -> bool:
        if key in self._live:
            return True
        return isinstance(key, str) and key in self._rows(key) and key not in self._gone

    def __iter__(self) -> Iterator[str]:
        """Shared rows, then users; each by the order of their last change."""
        changed = self._in_order()
        for rows, shared in ((self._shared, True), (self._users, False)):
            yield from [k for k in rows if k not in self._changed and k not in self._gone]
            yield from [k for k in changed if (k < USER) is shared]

    def __len__(self) -> int:
        return len(self._users) + len(self._shared) + len(self._made) - len(self._gone)

    def _rows(self, key: str) -> OrderedDict[str, bytes]:
        return self._users if key >= USER else self._shared

    def _access(self, key: str) -> S | None:
        """The value of a row that was not accessed since the last checkpoint."""
        value = self._idle.pop(key, None)
        if value is None:
            data = self._rows(key).get(key)
            if data is None or key in self._gone:
                return None
            value = self._read(key, data)
        self._live[key] = value
        return value

    def _first_assigned(self, key: str) -> None:
        """Note the first assignment to a key that was not accessed, or is new."""
        self._idle.pop(key, None)
        if key not in self._rows(key):
            self._made.add(key)
        else:
            self._gone.pop(key, None)

    def _drop(self, key: str) -> None:
        self._live.pop(key, None)
        self._idle.pop(key, None)
        self._changed.pop(key, None)
        if key in self._made:
            self._made.remove(key)
        else:
            self._gone[key] = None

    def _in_order(self) -> list[str]:
        """The keys assigned since the last checkpoint, in the order of their last change."""
        return sorted(self._changed, key=self._changed.__getitem__)

    def _read(self, key: str, data: bytes) -> S:
        try:
            return self._decode(data)
        except ValueError as error:
            raise StateUnreadable.of(repr(key[:64]), str(error)) from error

    # ------------------------------------------------------------------- eviction

    def evict(self) -> None:
        """Evict the rows beyond the limit; to be called after each step.

        Which rows depends on the order of changes alone, not on checkpoints or restarts.
        """
        while len(self) > self._limit:
            self._drop(self._oldest())

    def _oldest(self) -> str:
        """The user changed longest ago; if there is none, the shared row."""
        if self._eviction_order is None:  # neither changes before the next checkpoint
            self._eviction_order = iter(self._users), iter(self._shared)
        for silent, shared in zip(self._eviction_order, (False, True), strict=True):
            for key in silent:
                if key not in self._changed and key not in self._gone:
                    return key
            changed = [key for key in self._changed if (key < USER) is shared]
            if changed:
                return min(changed, key=self._changed.__getitem__)
        raise KeyError("there is no row")

    # ------------------------------------------------------------------- checkpoints

    def checkpoint(self) -> None:
        """Make the current rows the ones that `restore` goes back to; empties the journal.

        Raises
        ------
        Exception
            Whatever `encode` raises, or ValueError for a row that the changelog would not take; the
            previous checkpoint then stays the last one.
        """
        self.evict()
        encode, live = self._encode, self._live
        changed = [(key, encode(live[key])) for key in self._in_order()]
        check_sizes(changed)
        for key in self._gone:
            del self._rows(key)[key]
            self._write_next(key)
        for key, data in changed:
            rows = self._rows(key)
            rows[key] = data
            rows.move_to_end(key)
            self._write_next(key)
        if len(live) + len(self._idle) > self._most_live:
            self._idle.clear()
        else:
            self._idle.update(live)
        self._drop_changes()

    def restore(self) -> list[Any]:
        """Go back to the last checkpoint; the journal of what was processed since."""
        journal = self.journal
        self._drop_changes()
        return journal

    def _drop_changes(self) -> None:
        """Drop decoded and changed rows: only the bytes count."""
        self._live, self._changed, self._made, self._gone = {}, {}, set(), {}
        self._eviction_order, self.journal = None, []

    def _write_next(self, key: str) -> None:
        """Have the next save write a row, after those that changed earlier."""
        self._unsaved.pop(key, None)
        self._unsaved[key] = None

    # ------------------------------------------------------------------- save, rebuild

    @property
    def dirty(self) -> int:
        """Rows to write at the next save."""
        return len(self._unsaved.keys() | self._changed.keys() | self._gone.keys())

    def save(self) -> list[tuple[bytes, bytes | None]]:
        """Make a checkpoint; the rows to write in one transaction, empty without a change."""
        self.checkpoint()
        if not self._unsaved:
            return []
        written = [(key.encode(), self._rows(key).get(key)) for key in self._unsaved]
        self._unsaved.clear()
        return [*written, (POSITION, position_row(self.position, self.topics))]

    def load(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Apply committed rows of the changelog, oldest first.

        Raises
        ------
        StateUnreadable
            One is not ours, or of a newer release.
        """
        users = self._users
        for key, value in rows:
            if key == POSITION:
                self.position, self.topics = position_of(value)
                continue
            name = key_text(key)
            into = users if name >= USER else self._shared
            if name in into:
                del into[name]  # moves to the end
            if value is not None:
                into[name] = value

    def adopt(self, topics: Mapping[str, str]) -> list[str]:
        """Begin again in each topic that is another than before; their names.

        At its beginning, whatever offset the group may have committed in it for the former one.

        Parameters
        ----------
        topics
            Input topic -> its id now.
        """
        anew = [name for name, now in topics.items() if self.topics.get(name, now) != now]
        for name in anew:
            self.position[name] = 0
        self.topics = dict(topics)
        return anew

    def check(self) -> None:
        """Decode the oldest and the newest user and shared row: those of another form are refused.

        The newest as well, since a newer release may have written for a while.
        """
        for rows in (self._shared, self._users):
            for key in {next(iter(rows)), next(reversed(rows))} if rows else ():
                self._read(key, rows[key])
