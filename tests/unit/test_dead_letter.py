from __future__ import annotations

import hashlib
from functools import partial

from streams.adapters.avro import codec
from streams.records import DeadLetter
from streams.records.dead_letters import KEPT_BYTES, KEPT_KEY_BYTES

letter_of = partial(
    DeadLetter.of, topic="requests", partition=3, offset=42, stage="profiler", at_ms=5
)
LARGE = bytes(9_000_000)


def test_a_letter_is_bounded_whatever_the_record_has() -> None:
    letter = letter_of(LARGE, LARGE, reason="x" * 9_000_000)
    assert len(codec.encode(letter)) < KEPT_BYTES + KEPT_KEY_BYTES + 2_000


def test_a_letter_keeps_size_hash_and_place_of_a_record_that_it_does_not_hold() -> None:
    letter = letter_of(b"k", LARGE, reason="too large")
    assert (letter.topic, letter.partition, letter.offset) == ("requests", 3, 42)
    assert (letter.size, letter.sha256) == (9_000_000, hashlib.sha256(LARGE).hexdigest())
    assert not letter.whole


def test_a_small_record_is_held_whole() -> None:
    letter = letter_of(b"k", b"v" * KEPT_BYTES, reason="no")
    assert letter.whole
    assert (letter.key, letter.value) == (b"k", b"v" * KEPT_BYTES)


def test_a_record_with_a_large_key_is_not_held_whole() -> None:
    assert not letter_of(b"k" * (KEPT_KEY_BYTES + 1), None, reason="no").whole


def test_a_record_without_a_value_has_no_size() -> None:
    letter = letter_of(None, None, reason="empty")
    assert letter.whole
    assert letter.size is None


def test_a_letter_of_an_earlier_release_is_whole() -> None:
    letter = DeadLetter(
        topic="requests", partition=0, offset=0, stage="sink", reason="", at_ms=0,
        key=None, value=LARGE,
    )  # fmt: skip
    assert letter.whole
    assert letter.size == len(LARGE)


def test_a_letter_tells_of_its_record_and_of_no_other() -> None:
    letter = letter_of(b"k", LARGE, reason="no")
    assert letter.tells_of(b"k", LARGE)
    assert not letter.tells_of(b"k", LARGE[:-1] + b"\x01")
    assert not letter.tells_of(b"l", LARGE)
    assert not letter.tells_of(b"k", None)


def test_a_reason_that_is_no_utf8_is_written_all_the_same() -> None:
    codec.encode(letter_of(None, b"", reason="a lone \udce9"))
