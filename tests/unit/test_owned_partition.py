"""A partition that a worker owns: what becomes of its place when its state is rebuilt."""

from __future__ import annotations

from typing import Any

import pytest

from streams.engine.partition import ChangelogConfig, OwnedPartition
from streams.engine.partition_store import PartitionStore

WRITER: Any = None


def store(**topics: str) -> PartitionStore[bytes]:
    """A store that was rebuilt with topics of these ids."""
    made = PartitionStore(bytes, bytes, 9)
    made.topics = topics
    return made


@pytest.mark.parametrize(("requests", "position"), [("old", 80), ("new", 0)])
def test_what_was_committed_in_a_topic_says_nothing_of_one_made_anew(
    requests: str, position: int
) -> None:
    owned = OwnedPartition(0, 1, store(requests="old"))
    rebuilt = store(requests="old")
    rebuilt.position = {"requests": 70}
    rebuilt.adopt({"requests": requests})

    owned.reset(WRITER, rebuilt, {"requests": 80})

    assert owned.store.position == {"requests": position}


def test_a_partition_that_is_revoked_before_it_is_opened_fences_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fenced = list[object]()
    monkeypatch.setattr("streams.engine.partition.TransactionalWriter", lambda *a: fenced.append(a))
    monkeypatch.setattr("streams.engine.partition.read_partition", lambda *_: ())
    owned = OwnedPartition(0, 1, store())
    owned.revoke()

    owned.open(ChangelogConfig("log", "group", {}, {}, store))

    assert fenced == []
