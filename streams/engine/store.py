"""The state of one partition: a mapping that is saved to and rebuilt from its changelog.

What makes it exact. The rows that changed since the last save and the input offsets up to which
they include everything (the row `POSITION`) are written in one Kafka transaction. A reader of
committed records sees both or neither; so after a crash at any point the rows are those of a
prefix of the input, and the position says of which: what came before is recognised and left
out, what comes after is taken in again, on the state that it met the first time. The writer of
a partition has a transactional id of its own, which fences the partition's earlier owner before
the changelog is read. Aborted rows never replace committed ones, also under compaction.

A step may thus touch any number of rows, its user's and shared ones, and each counts it once.
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
LIVE = 20_000  # decoded values kept between saves; beyond these the bytes are kept alone


class PartitionStore(MutableMapping[str, S], Generic[S]):
    """State by key; a change counts when it is assigned, and lasts from `commit` on.

    A step that fails is undone by `rollback`, as far as it assigned values rather than changed
    them in place.

    Parameters
    ----------
    encode, decode
        Between a value and its bytes, see `stages.base.Stage`. No value is None.
    limit
        Most keys. Beyond, those assigned longest ago are forgotten, shared ones last.
    live
        Most decoded values kept over a save.
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
        self._users: OrderedDict[str, bytes] = OrderedDict()  # the last assigned at the end
        self._shared: OrderedDict[str, bytes] = OrderedDict()
        self._live: dict[str, S] = {}  # decoded, where newer than the bytes or already used
        self._before: dict[str, S | None] = {}  # what this step replaced, None: nothing decoded
        self._made: list[str] = []  # keys that it assigned first
        self._gone: set[str] = set()  # what it deleted
        self._dirty: dict[str, int] = {}  # changed or deleted since the last save: when last
        self._changes = count()
        self.position: dict[str, int] = {}  # input topic -> offset of the next record

    # ------------------------------------------------------------------- the mapping

    def __getitem__(self, key: str) -> S:
        found = self._live.get(key)
        return self._fetch(key) if found is None else found

    def get(self, key: str, default: Any = None) -> Any:
        """As a mapping's; most are of rows in use, dozens a step."""
        found = self._live.get(key)
        if found is not None:
            return found
        return self._fetch(key) if key in self else default

    def __setitem__(self, key: str, value: S) -> None:
        if key not in self._before:
            self._before[key] = found = self._live.get(key)
            if found is None and key not in self._rows(key):
                self._made.append(key)
        self._live[key] = value
        if self._gone:
            self._gone.discard(key)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._before.setdefault(key, self._live.pop(key, None))
        self._gone.add(key)

    def __contains__(self, key: object) -> bool:
        if key in self._live:
            return True
        return isinstance(key, str) and key in self._rows(key) and key not in self._gone

    def __iter__(self) -> Iterator[str]:
        self._arrange()
        known = [key for rows in (self._shared, self._users) for key in rows]
        yield from (key for key in known if key not in self._gone)
        yield from [key for key in self._made if key not in self._gone]

    def __len__(self) -> int:
        return len(self._users) + len(self._shared) + len(self._made) - len(self._gone)

    def _rows(self, key: str) -> OrderedDict[str, bytes]:
        return self._users if key >= USER else self._shared

    def _fetch(self, key: str) -> S:
        if key in self._gone:
            raise KeyError(key)
        value = self._live[key] = self._read(key, self._rows(key)[key])
        return value

    # ------------------------------------------------------------------- steps

    def commit(self) -> None:
        """Let the changes since the last commit last."""
        if not self._before:
            return
        if self._gone:
            self._drop(self._gone)
            self._gone.clear()
        self._dirty.update(zip(self._before, self._changes, strict=False))  # dozens a step: no loop
        self._before.clear()
        if self._made:
            for key in self._made:
                if key in self._live:  # not deleted again
                    self._rows(key)[key] = b""
            self._made.clear()
            self._evict()

    def _drop(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._before.pop(key, None)
            self._live.pop(key, None)
            if self._rows(key).pop(key, None) is not None:
                self._dirty[key] = next(self._changes)

    def _evict(self) -> None:
        while len(self._users) + len(self._shared) > self._limit:
            self._drop([self._oldest(self._users or self._shared)])

    def _arrange(self) -> list[str]:
        """Bring the rows into the order of their last change; what is dirty, in this order.

        Written and read back in it, they are ordered by how long they have been silent: neither
        eviction nor what a stage does with each row depends on restarts.
        """
        dirty = sorted(self._dirty, key=self._dirty.__getitem__)
        for key in dirty:
            rows = self._rows(key)
            if key in rows:
                rows.move_to_end(key)
        return dirty

    def _oldest(self, rows: OrderedDict[str, bytes]) -> str:
        """The row changed longest ago; on the way those changed since the last save go aside."""
        for _ in range(len(rows)):
            key = next(iter(rows))
            if key not in self._dirty:
                return key
            rows.move_to_end(key)
        return min(rows, key=self._dirty.__getitem__)

    def rollback(self) -> None:
        """Undo the changes since the last commit."""
        for key, value in self._before.items():
            if value is None:
                self._live.pop(key, None)
            else:
                self._live[key] = value
        self._before.clear()
        self._made.clear()
        self._gone.clear()

    def _read(self, key: str, data: bytes) -> S:
        try:
            return self._decode(data)
        except ValueError as error:
            raise StateUnreadable(
                f"The state of {key!r} cannot be read ({error}): upgrade foremesh first"
            ) from error

    # ------------------------------------------------------------------- save, rebuild

    @property
    def dirty(self) -> int:
        """Rows to write at the next save."""
        return len(self._dirty)

    def save(self) -> list[tuple[bytes, bytes | None]]:
        """The rows to write as one, and from now on the saved ones; empty without a change."""
        self.commit()
        if not self._dirty:
            return []
        written = list(self._encoded())
        self._dirty.clear()
        if len(self._live) > self._most_live:
            self._live.clear()
        position = json.dumps({"form": FORM, "next": self.position}, sort_keys=True)
        return [*written, (POSITION, position.encode())]

    def _encoded(self) -> Iterator[tuple[bytes, bytes | None]]:
        encode, live = self._encode, self._live
        for key in self._arrange():
            rows, data = self._rows(key), None
            if key in rows:
                data = rows[key] = encode(live[key])
            yield key.encode(), data

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
