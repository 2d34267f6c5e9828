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
    """State by key; a change counts when it is assigned.

    Parameters
    ----------
    encode, decode
        Between a value and its bytes, see `stages.base.Stage`.
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
        self._dirty: dict[str, None] = {}  # changed or deleted since the last save, in order
        self.position: dict[str, int] = {}  # input topic -> offset of the next record

    # ------------------------------------------------------------------- the mapping

    def __getitem__(self, key: str) -> S:
        try:
            return self._live[key]
        except KeyError:
            value = self._live[key] = self._read(key, self._rows(key)[key])
            return value

    def get(self, key: str, default: Any = None) -> Any:
        """As a mapping's; an absent key is common, so that it costs no exception."""
        if key in self._live:
            return self._live[key]
        return self[key] if key in self._rows(key) else default

    def __setitem__(self, key: str, value: S) -> None:
        rows = self._users if key >= USER else self._shared
        self._live[key] = value
        self._touch(key)
        if key in rows:
            rows.move_to_end(key)
            return
        rows[key] = b""
        while len(self._users) + len(self._shared) > self._limit:
            del self[next(iter(self._users or self._shared))]

    def __delitem__(self, key: str) -> None:
        del self._rows(key)[key]
        self._live.pop(key, None)
        self._touch(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key in self._rows(key)

    def __iter__(self) -> Iterator[str]:
        yield from list(self._shared)
        yield from list(self._users)

    def __len__(self) -> int:
        return len(self._users) + len(self._shared)

    def _rows(self, key: str) -> OrderedDict[str, bytes]:
        return self._users if key >= USER else self._shared

    def _touch(self, key: str) -> None:
        # In the order of the last change: read back in this order, the rows are again ordered
        # by how long they have been silent, so that eviction does not depend on restarts.
        self._dirty.pop(key, None)
        self._dirty[key] = None

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
        if not self._dirty:
            return []
        written = [(key.encode(), self._save(key)) for key in self._dirty]
        self._dirty.clear()
        if len(self._live) > self._most_live:
            self._live.clear()
        position = json.dumps({"form": FORM, "next": self.position}, sort_keys=True)
        return [*written, (POSITION, position.encode())]

    def _save(self, key: str) -> bytes | None:
        rows = self._rows(key)
        if key not in rows:
            return None
        data = rows[key] = self._encode(self._live[key])
        return data

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
