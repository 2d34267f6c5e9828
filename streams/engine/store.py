"""The state of one partition: a mapping that is checkpointed to and rebuilt from its changelog.

What makes it exact. The rows that changed since the last save and the input offsets up to which
they include everything (the row `POSITION`) are written in one Kafka transaction. A reader of
committed records sees both or neither; so after a crash at any point the rows are those of a
prefix of the input, and the position says of which: what came before is recognised and left
out, what comes after is taken in again, on the state that it met the first time. The writer of
a partition has a transactional id of its own, which fences the partition's earlier owner before
the changelog is read. Aborted rows never replace committed ones, also under compaction.

A step may thus touch any number of rows, its user's and shared ones, and each counts it once.

What makes undo exact. The rows as of the last checkpoint are bytes, which no step can change.
Whatever came since lies over them, decoded; `restore` drops all that a step has looked at.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from itertools import count
from typing import Any, Generic, TypeVar

from streams.errors import StateUnreadable

__all__ = ["POSITION", "SHARED", "PartitionStore"]

S = TypeVar("S")

SHARED = "\x00"  # keys that begin with it are no user's
USER = "\x01"  # where those of users begin
POSITION = b"\x00\x00position"
FORM = 1  # of the position row
LIVE = 20_000  # decoded values kept between checkpoints; beyond these the bytes are kept alone


class PartitionStore(MutableMapping[str, S], Generic[S]):
    """State by key, and all that is needed to go back to the last checkpoint.

    A value that was changed has to be assigned again, else the change is not kept.

    Parameters
    ----------
    encode, decode
        Between a value and its bytes, see `stages.base.Stage`. No value is None.
    limit
        Most keys. Beyond, those assigned longest ago are evicted, shared ones last.
    live
        Most decoded values kept over a checkpoint.

    Attributes
    ----------
    position
        Input topic -> offset of the next record.
    journal
        What was taken in since the last checkpoint, in order, for whoever takes it in to note;
        emptied with each checkpoint.
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
        # As of the last checkpoint, and not touched until the next; the last changed at the end.
        self._users: OrderedDict[str, bytes] = OrderedDict()
        self._shared: OrderedDict[str, bytes] = OrderedDict()
        self._unsaved: dict[str, None] = {}  # changed by a checkpoint and not saved yet, in order
        # Since then.
        self._live: dict[str, S] = {}  # decoded and looked at: may differ from the bytes
        self._idle: dict[str, S] = {}  # decoded and not looked at: the same as the bytes
        self._changed: dict[str, int] = {}  # assigned -> sequence number of the last time
        self._made: set[str] = set()  # of those the keys without bytes
        self._gone: dict[str, None] = {}  # deleted or evicted, of the keys with bytes
        # Users and shared rows with bytes, from the one changed longest ago; read as rows go.
        self._silent: tuple[Iterator[str], Iterator[str]] | None = None
        self._changes = count()
        self.position: dict[str, int] = {}
        self.journal: list[Any] = []

    # ------------------------------------------------------------------- the mapping

    def __getitem__(self, key: str) -> S:
        found = self._live.get(key)
        if found is None:
            found = self._look_at(key)
        if found is None:
            raise KeyError(key)
        return found

    def get(self, key: str, default: Any = None) -> Any:
        """As a mapping's; most are of rows in use, dozens a step."""
        found = self._live.get(key)
        if found is None:
            found = self._look_at(key)
        return default if found is None else found

    def __setitem__(self, key: str, value: S) -> None:
        if key not in self._live:
            self._enter(key)
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
        """Shared rows, then users; of each the one changed longest ago first."""
        changed = self._in_order()
        for rows, shared in ((self._shared, True), (self._users, False)):
            yield from [k for k in rows if k not in self._changed and k not in self._gone]
            yield from [k for k in changed if (k < USER) is shared]

    def __len__(self) -> int:
        return len(self._users) + len(self._shared) + len(self._made) - len(self._gone)

    def _rows(self, key: str) -> OrderedDict[str, bytes]:
        return self._users if key >= USER else self._shared

    def _look_at(self, key: str) -> S | None:
        """The value of a row that was not looked at since the last checkpoint."""
        value = self._idle.pop(key, None)
        if value is None:
            data = self._rows(key).get(key)
            if data is None or key in self._gone:
                return None
            value = self._read(key, data)
        self._live[key] = value
        return value

    def _enter(self, key: str) -> None:
        """Note that a key is assigned that was not looked at, or is new."""
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
            raise StateUnreadable(
                f"The state of {key!r} cannot be read ({error}): upgrade foremesh first"
            ) from error

    # ------------------------------------------------------------------- eviction

    def evict(self) -> None:
        """Forget the rows beyond the limit; to be called after each step.

        Which these are depends on the order of changes alone, not on checkpoints or restarts.
        """
        while len(self) > self._limit:
            self._drop(self._oldest())

    def _oldest(self) -> str:
        """The user changed longest ago; without any the shared row."""
        if self._silent is None:  # nothing changes these before the next checkpoint
            self._silent = iter(self._users), iter(self._shared)
        for silent, shared in zip(self._silent, (False, True), strict=True):
            for key in silent:
                if key not in self._changed and key not in self._gone:
                    return key
            changed = [key for key in self._changed if (key < USER) is shared]
            if changed:
                return min(changed, key=self._changed.__getitem__)
        raise KeyError("there is no row")

    # ------------------------------------------------------------------- checkpoints

    def checkpoint(self) -> None:
        """Keep the rows as they are, for `restore` to go back to; the journal begins anew.

        Raises
        ------
        Exception
            Whatever `encode` raises; then the last checkpoint is still the one before.
        """
        self.evict()
        encode, live = self._encode, self._live
        changed = [(key, encode(live[key])) for key in self._in_order()]
        for key in self._gone:
            del self._rows(key)[key]
            self._note(key)
        for key, data in changed:
            rows = self._rows(key)
            rows[key] = data
            rows.move_to_end(key)
            self._note(key)
        if len(live) + len(self._idle) > self._most_live:
            self._idle.clear()
        else:
            self._idle.update(live)
        self._begin()

    def restore(self) -> list[Any]:
        """Go back to the last checkpoint; the journal of what was taken in since."""
        journal = self.journal
        self._begin()
        return journal

    def _begin(self) -> None:
        """Start over from the bytes."""
        self._live, self._changed, self._made, self._gone = {}, {}, set(), {}
        self._silent, self.journal = None, []

    def _note(self, key: str) -> None:
        """Have a row written by the next save, after those that changed before."""
        self._unsaved.pop(key, None)
        self._unsaved[key] = None

    # ------------------------------------------------------------------- save, rebuild

    @property
    def dirty(self) -> int:
        """Rows to write at the next save."""
        return len(self._unsaved.keys() | self._changed.keys() | self._gone.keys())

    def save(self) -> list[tuple[bytes, bytes | None]]:
        """Make a checkpoint; the rows to write as one, empty without a change."""
        self.checkpoint()
        if not self._unsaved:
            return []
        written = [(key.encode(), self._rows(key).get(key)) for key in self._unsaved]
        self._unsaved.clear()
        position = json.dumps({"form": FORM, "next": self.position}, sort_keys=True)
        return [*written, (POSITION, position.encode())]

    def load(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Take in committed rows of the changelog, oldest first."""
        users = self._users
        for key, value in rows:
            if key == POSITION:
                self.position = _position(value)
                continue
            name = key.decode()
            into = users if name >= USER else self._shared
            if name in into:
                del into[name]  # to go to the end
            if value is not None:
                into[name] = value

    def check(self) -> None:
        """Read one row of each kind: bytes of another release are found now, not in mid-stream."""
        for rows in (self._shared, self._users):
            if rows:
                self[next(iter(rows))]


def _position(value: bytes | None) -> dict[str, int]:
    form = json.loads(value or b'{"form": 1, "next": {}}')
    if form["form"] != FORM:
        raise StateUnreadable(f"The changelog has form {form['form']}: upgrade foremesh first")
    position: dict[str, int] = form["next"]
    return position
