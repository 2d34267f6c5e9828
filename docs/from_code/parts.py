"""Settings, commands, topics and schemas as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from streams.cli import EXIT_CODES, cli
from streams.flow.declaration import Topic
from streams.flow.topology import TOPICS, TOPOLOGY
from streams.runtime.files import data_path
from streams.settings import Settings

WIDTH = 80


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    cells = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(one) for one in row) + " |" for row in cells)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def settings() -> str:
    """Every variable, what it says and its default."""
    rows = [
        (
            f"`{Settings.variable(one.name)}`",
            one.metadata["about"],
            f"`{one.default}`" if one.default != "" else "",
        )
        for one in fields(Settings)
    ]
    return table(("variable", "what it is", "default"), rows)


def exit_codes() -> str:
    """What each exit code of a command means."""
    return table(("code", "meaning"), EXIT_CODES.items())


def commands() -> str:
    """The help of every command, those below a command as well."""
    return "\n\n".join(_help(words, command) for words, command in _walked("foremesh", cli))


def _walked(words: str, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{words} {name}", command
        if isinstance(command, click.Group):
            yield from _walked(f"{words} {name}", command)


def _help(words: str, command: click.Command) -> str:
    # The prefix of variables is that of the command's own context.
    prefix = words.upper().replace(" ", "_").replace("-", "_")
    context = click.Context(
        command, info_name=words, terminal_width=WIDTH, auto_envvar_prefix=prefix
    )
    mark = "#" * len(words.split())
    return f"{mark} {words}\n\n```text\n{command.get_help(context)}\n```"


def topics() -> str:
    """Every topic, its records, who writes and reads it, and whether it is kept in PostgreSQL."""
    rows = [
        (
            f"`{topic.name}`" + (" (compacted)" if topic.compacted else ""),
            topic.keyed_by,
            ", ".join(f"[`{kind.schema}`](#{kind.schema})" for kind in topic.kinds),
            ", ".join(_stages("writes", topic)),
            ", ".join((*_stages("reads", topic), *_stages("views", topic))),
            "yes" if topic.stored else "",
        )
        for topic in TOPICS.values()
    ]
    heads = (
        "topic",
        "key",
        "records",
        "stages that write it",
        "stages that read it",
        "in PostgreSQL",
    )
    return table(heads, rows)


def _stages(how: str, topic: Topic) -> list[str]:
    return [row.name for row in TOPOLOGY.stages.values() if topic.name in getattr(row, how)]


def schemas() -> str:
    """The newest version of every schema, field by field."""
    folders = [Path(data_path("schemas")) / name for name in TOPOLOGY.schemas]
    return "\n\n".join(map(_schema, folders))


def _schema(folder: Path) -> str:
    versions = sorted(folder.glob("v*.avsc"), key=lambda path: int(path.stem[1:]))
    schema = json.loads(versions[-1].read_text())
    told = f"{schema['doc']} Versions: {', '.join(path.stem for path in versions)}."
    return "\n\n".join((f"### {folder.name}", told, *_fields(schema)))


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    """The table of a record's fields, and those of the records in it."""
    inner: list[dict[str, Any]] = []
    rows = [
        (
            f"`{one['name']}`",
            _type(one["type"], inner),
            f"`{json.dumps(one['default'])}`" if "default" in one else "",
            one.get("doc", ""),
        )
        for one in schema["fields"]
    ]
    yield table(("field", "type", "default", "what it is"), rows)
    for record in inner:
        yield f"{record['name']}: {record.get('doc', '')}"
        yield from _fields(record)


def _type(form: Any, inner: list[dict[str, Any]]) -> str:
    """The name of a type; records are put into `inner`, to have a table of their own."""
    match form:
        case str(name):
            said = name
        case list():
            said = " or ".join(_type(one, inner) for one in form)
        case {"type": "array", "items": items}:
            said = f"list of {_type(items, inner)}"
        case {"type": "map", "values": values}:
            said = f"map of {_type(values, inner)}"
        case {"type": "enum", "symbols": symbols}:
            said = ", ".join(f"`{symbol}`" for symbol in symbols)
        case {"type": "record", "name": name}:
            inner.append(form)
            said = name
        case _:
            said = form.get("logicalType", form["type"])
    return said
