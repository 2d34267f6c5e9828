"""Whether data written by one Avro schema can be read by another (Avro 1.12, "Schema Resolution")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["unreadable"]

Schema = Any  # as JSON gives it: a name, a list (union) or a dict

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}


def unreadable(writer: Schema, reader: Schema) -> list[str]:
    """The reasons why `reader` cannot read data of `writer`, a sentence each; empty when it can.

    FULL compatibility of two versions is this in both directions; FULL_TRANSITIVE is FULL
    compatibility of every pair of versions.
    """
    return list(
        _SchemaComparison(_named(writer), _named(reader)).compare(writer, reader, "the record")
    )


class _SchemaComparison:
    def __init__(self, of_writer: dict[str, Schema], of_reader: dict[str, Schema]) -> None:
        self._of_writer = of_writer
        self._of_reader = of_reader

    def compare(self, writer: Schema, reader: Schema, where: str) -> Iterator[str]:
        writer = _resolved(writer, self._of_writer)
        reader = _resolved(reader, self._of_reader)
        if isinstance(writer, list):
            for branch in writer:
                yield from self.compare(branch, reader, where)
        elif isinstance(reader, list):
            if all(list(self.compare(writer, branch, where)) for branch in reader):
                yield f"{where}: {_kind(writer)} is no branch of the reader's union"
        elif _kind(writer) != _kind(reader):
            if _kind(reader) not in _PROMOTIONS.get(_kind(writer), ()):
                yield f"{where}: {_kind(writer)} cannot be read as {_kind(reader)}"
        else:
            yield from self._same_kind(writer, reader, where)

    def _same_kind(self, writer: Schema, reader: Schema, where: str) -> Iterator[str]:
        match _kind(reader):
            case "record":
                yield from self._records(writer, reader, where)
            case "enum":
                yield from _enums(writer, reader, where)
            case "array":
                yield from self.compare(writer["items"], reader["items"], f"items of {where}")
            case "map":
                yield from self.compare(writer["values"], reader["values"], f"values of {where}")

    def _records(self, writer: Schema, reader: Schema, where: str) -> Iterator[str]:
        if writer["name"] != reader["name"]:
            yield f"{where}: record {writer['name']} has become {reader['name']}"
        written = {item["name"]: item["type"] for item in writer["fields"]}
        for item in reader["fields"]:
            if item["name"] in written:
                yield from self.compare(written[item["name"]], item["type"], f"{item['name']!r}")
            elif "default" not in item:
                yield f"{item['name']!r} is not in the older data and has no default"


def _enums(writer: Schema, reader: Schema, where: str) -> Iterator[str]:
    missing = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
    if missing and "default" not in reader:
        yield f"{where}: the reader's enum lacks {', '.join(missing)} and has no default"


def _kind(schema: Schema) -> str:
    kind: str = schema["type"] if isinstance(schema, dict) else schema
    return kind


def _resolved(schema: Schema, named: dict[str, Schema]) -> Schema:
    """A schema with names resolved and redundant nesting removed."""
    if isinstance(schema, dict) and isinstance(schema["type"], dict | list):
        return _resolved(schema["type"], named)
    return named.get(schema, schema) if isinstance(schema, str) else schema


def _named(schema: Schema, namespace: str = "") -> dict[str, Schema]:
    """Every record and enum that a schema defines, by full name."""
    if isinstance(schema, list):
        return {k: v for branch in schema for k, v in _named(branch, namespace).items()}
    if not isinstance(schema, dict):
        return {}
    namespace = schema.get("namespace", namespace)
    found: dict[str, Schema] = {}
    if schema["type"] in {"record", "enum"}:
        found[f"{namespace}.{schema['name']}"] = schema
    inner = [schema.get("items"), schema.get("values"), schema["type"]]
    inner += [item["type"] for item in schema.get("fields", ())]
    for part in inner:
        if isinstance(part, dict | list):
            found |= _named(part, namespace)
    return found
