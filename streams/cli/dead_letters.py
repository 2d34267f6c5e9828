"""`foremesh dead-letters`: list or replay records that could not be used."""

from __future__ import annotations

import base64
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import click

from streams.adapters.kafka.clients import MAX_MESSAGE_BYTES, producer_config
from streams.adapters.kafka.dead_letters import REPLAY_HEADER, DeadLetterAtOffset, letters, replayed
from streams.adapters.kafka.originals import OriginalReader
from streams.cli import pass_settings
from streams.cli.command_group import CommandGroup
from streams.cli.output import json_option, tell
from streams.engine.producer import CheckedProducer
from streams.records import DeadLetter
from streams.report.text_table import NAME, WHOLE, TextTable
from streams.settings import Settings

__all__ = ["command", "table_of"]

FLUSH_LETTERS = 1_000  # in flight at once: a few of them may hold some MiB
OVERHEAD_BYTES = 1_024  # of a record, beside its key and value


_FILTERS = (
    click.option("--topic", show_envvar=True, help="Only records of this topic or file."),
    click.option("--reason", show_envvar=True, help="Only reasons that contain this text."),
)


def filters(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that select letters."""
    for option in reversed(_FILTERS):
        function = option(function)
    return function


@click.group(cls=CommandGroup)
def command() -> None:
    """List or replay records that could not be used."""


@command.command("list")
@filters
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    show_envvar=True,
    help="Maximum number of letters to show; the latest are shown.",
)
@json_option(
    "a list of topic, partition, offset, stage, reason, at_ms, stored_ms, key_base64, value_base64,"
    " whole, value_bytes, sha256"
)
@pass_settings
def list_command(
    settings: Settings, *, topic: str | None, reason: str | None, limit: int, output: str
) -> None:
    """List the dead letters on Kafka, the latest last."""
    total, shown = latest(chosen(settings, topic, reason), limit)
    tell(output, [as_json(item) for item in shown], table_of(total, shown))


@command.command()
@filters
@click.option("--dry-run", is_flag=True, show_envvar=True, help="Only count; send nothing.")
@click.option(
    "--again", is_flag=True, show_envvar=True, help="Also send what was sent back before."
)
@click.option(
    "--from-letters",
    is_flag=True,
    show_envvar=True,
    help="Also send records that are gone from their topic, as their letters say they were.",
)
@json_option(
    "dry_run, sent_back, sent_back_before, of_a_file, gone_from_topic, replaced, too_large: how many"
)
@pass_settings
def replay(
    settings: Settings,
    *,
    topic: str | None,
    reason: str | None,
    dry_run: bool,
    again: bool,
    from_letters: bool,
    output: str,
) -> None:
    """Send the original records back to the topics that they came from, each once.

    Whoever can write to `dead-letters` can write any letter, so each record is fetched from its
    place and compared with the letter; without `--from-letters` it is left out if it is not there
    any more. A record sent back carries a header that names its dead letter; it is not sent again
    while the topic holds it, unless two of these commands run at once. Rows of files are left out:
    mend the file and produce it again.
    """
    counts = Counter[str]()
    before = {} if again else sent_before(settings, topic, reason)
    producer = CheckedProducer(producer_config(settings))
    with closing(OriginalReader(settings)) as reader:
        for item in chosen(settings, topic, reason):
            action, original = disposition(item, before, reader)
            if action == GONE and from_letters and item.letter.whole:
                action, original = SENT, (item.letter.key, item.letter.value)
            counts[action] += 1
            if original is None or dry_run:
                continue
            headers = [(REPLAY_HEADER, item.name)]
            producer.send(settings.topic(item.topic or ""), *original, headers=headers)
            if counts[SENT] % FLUSH_LETTERS == 0:
                producer.flush(settings.delivery_ms / 1000)
    producer.flush(settings.delivery_ms / 1000)
    facts = {"dry_run": dry_run, **{key: counts[name] for name, key in KEYS.items()}}
    tell(output, facts, ("would be: " if dry_run else "") + summary_of(counts))


SENT, SENT_BEFORE, OF_A_FILE = "sent back", "had been sent back before", "of a file, left out"
GONE = "gone from its topic, left out"
REPLACED = "another than what is at its place now, left out"
TOO_LARGE = f"larger than {MAX_MESSAGE_BYTES:,} bytes, which must be produced again, left out"
KEYS = {
    SENT: "sent_back",
    SENT_BEFORE: "sent_back_before",
    OF_A_FILE: "of_a_file",
    GONE: "gone_from_topic",
    REPLACED: "replaced",
    TOO_LARGE: "too_large",
}

Original = tuple[bytes | None, bytes | None]  # key and value


def summary_of(counts: Mapping[str, int]) -> str:
    """The number of letters by what was done with them."""
    always, seldom = (SENT, SENT_BEFORE, OF_A_FILE), (GONE, REPLACED, TOO_LARGE)
    names = [*always, *(name for name in seldom if counts[name])]
    return ", ".join(f"{counts[name]} {name}" for name in names)


def disposition(
    item: DeadLetterAtOffset, before: Mapping[str, set[bytes]], reader: OriginalReader
) -> tuple[str, Original | None]:
    """What `replay` does with a letter, and the record to send if there is one."""
    if item.topic is None:
        return OF_A_FILE, None
    if item.name in before.get(item.topic, ()):
        return SENT_BEFORE, None
    return fetched(item.topic, item.letter, reader)


def fetched(topic: str, letter: DeadLetter, reader: OriginalReader) -> tuple[str, Original | None]:
    """The record that a letter tells of, if it is at its place and can be sent."""
    found = reader.at(topic, letter.partition, letter.offset)
    if found is None:
        return GONE, None
    key, value = original = found.key(), found.value()
    if not letter.tells_of(key, value):
        return REPLACED, None
    if len(key or b"") + len(value or b"") > MAX_MESSAGE_BYTES - OVERHEAD_BYTES:
        return TOO_LARGE, None
    return SENT, original


def chosen(
    settings: Settings, topic: str | None, reason: str | None
) -> Iterator[DeadLetterAtOffset]:
    """The letters of a topic (None: of all) whose reason contains a text."""
    for item in letters(settings):
        if topic in {None, item.letter.topic} and (reason or "") in item.letter.reason:
            yield item


def latest(items: Iterable[DeadLetterAtOffset], limit: int) -> tuple[int, list[DeadLetterAtOffset]]:
    """The number of letters, and the latest of them in order of time."""
    # Letters are never compared: partition and offset are unique.
    heap: list[tuple[tuple[int, int, int], DeadLetterAtOffset]] = []
    total = 0
    for item in items:
        total += 1
        entry = ((item.stored_ms, item.partition, item.offset), item)
        if len(heap) < limit:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)
    return total, [item for _, item in sorted(heap)]


def sent_before(settings: Settings, topic: str | None, reason: str | None) -> dict[str, set[bytes]]:
    """By topic, the names of the letters that were sent back to it before."""
    oldest: dict[str, int] = {}
    for item in chosen(settings, topic, reason):
        if item.topic is not None:
            oldest[item.topic] = min(oldest.get(item.topic, item.stored_ms), item.stored_ms)
    return {name: replayed(settings, name, since_ms) for name, since_ms in oldest.items()}


def as_json(item: DeadLetterAtOffset) -> dict[str, Any]:
    """A letter as plain values."""
    letter = item.letter
    return {
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "stage": letter.stage,
        "reason": letter.reason,
        "at_ms": letter.at_ms,
        "stored_ms": item.stored_ms,
        "key_base64": _base64(letter.key),
        "value_base64": _base64(letter.value),
        "whole": letter.whole,
        "value_bytes": letter.size,
        "sha256": letter.sha256,
    }


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def table_of(total: int, shown: Sequence[DeadLetterAtOffset]) -> TextTable:
    """The letters for people, and how many there are."""
    return TextTable(
        columns={"topic": NAME, "place": WHOLE, "time, UTC": WHOLE, "reason": NAME},
        rows=[_row(item) for item in shown],
        legend=f"{len(shown)} of {total} dead letters; place: partition and offset of the original"
        " (of a file: 0 and the line). --output json has its key and bytes.",
        empty="0 of 0 dead letters.",
    )


def _row(item: DeadLetterAtOffset) -> tuple[str, ...]:
    letter = item.letter
    time = datetime.fromtimestamp(item.stored_ms / 1000, UTC).isoformat(" ", "seconds")[:-6]
    return (letter.topic, f"{letter.partition} {letter.offset}", time, letter.reason)
