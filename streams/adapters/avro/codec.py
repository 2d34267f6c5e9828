"""Records to bytes and back: Avro single-object encoding, with `schemas/` as the registry.

The header is C3 01 and the CRC-64-AVRO fingerprint of the writer's schema (Avro 1.12
specification, "Single-object encoding"). The highest version of a record's schema is written,
every version is read and resolved to the highest one.
"""

from __future__ import annotations

import functools
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

from fastavro import parse_schema, schemaless_reader
from fastavro.schema import fingerprint, to_parsing_canonical_form

from streams.adapters.avro.compatibility import unreadable
from streams.adapters.avro.reader import EnumValueUnknown, Read, reader_of
from streams.adapters.avro.record_forms import Convert, field_names, form_of
from streams.adapters.avro.writer import Write, writer_of
from streams.flow.declaration import FlowTopology
from streams.flow.topology import TOPOLOGY
from streams.records import Record
from streams.runtime.files import data_path

__all__ = ["RecordCodec", "RecordUndecodable", "decode", "encode", "installed", "schema_problems"]

MAGIC = b"\xc3\x01"
HEADER_BYTES = len(MAGIC) + 8
MOST_BYTES = 3 << 20  # what a topic takes; decoding as much blocks its process for most of a second
TRUNCATED = "truncated Avro: the record ends before its schema does"


class RecordUndecodable(ValueError):
    """Bytes that are not a record; the message is the reason."""


class _SchemaWriter(NamedTuple):
    header: bytes
    write: Write


def _older(schema: Any, highest: Any, make: Convert) -> Read:
    """A reader of an earlier version, resolved to the highest one."""

    def read(data: bytes, at: int) -> tuple[Any, int]:
        body = io.BytesIO(data)
        body.seek(at)
        try:
            values = schemaless_reader(body, schema, highest)
        except IndexError as error:  # of the symbols of an enum: at the end fastavro has EOFError
            raise EnumValueUnknown from error
        return make(values), body.tell()

    return read


class RecordCodec:
    """Encoder and decoder of every kind of record that a topology registers.

    Parameters
    ----------
    schemas
        The folder with a folder of schemas for each kind.
    topology
        The kinds.
    """

    def __init__(self, schemas: Path, topology: FlowTopology = TOPOLOGY) -> None:
        self._writers: dict[type, _SchemaWriter] = {}
        self._readers: dict[bytes, Read] = {}
        for name, kind in topology.schemas.items():
            self._register(kind, [parse_schema(schema) for schema in versions(schemas / name)])

    def _register(self, kind: type, parsed: list[Any]) -> None:
        *older, highest = parsed
        for schema in older:
            self._readers[header_of(schema)] = _older(schema, highest, form_of(kind))
        self._readers[header_of(highest)] = reader_of(highest, kind)
        self._writers[kind] = _SchemaWriter(header_of(highest), writer_of(highest))

    def encode(self, record: Record) -> bytes:
        """The bytes of a record.

        Raises
        ------
        AttributeError, TypeError or ValueError
            A field holds what is not of its type, or does not fit.
        """
        header, write = self._writers[type(record)]
        out = bytearray(header)
        write(out, record)
        return bytes(out)

    def decode(self, data: bytes) -> Record:
        """The record of these bytes.

        Raises
        ------
        RecordUndecodable
            Whatever is wrong with them; nothing else is raised.
        """
        if len(data) > MOST_BYTES:  # it was compressed, and may be a thousand times as large
            raise RecordUndecodable(f"{len(data)} bytes, more than the {MOST_BYTES} of a record")
        read = self._readers.get(data[:HEADER_BYTES]) if data else None
        if read is None:
            raise RecordUndecodable(_fault_of_header(data))
        try:
            record, end = read(data, HEADER_BYTES)
        except Exception as error:  # on hostile bytes the library may raise anything
            raise RecordUndecodable(_fault_of(error)) from error
        if end != len(data):
            raise RecordUndecodable(f"{len(data) - end} bytes after the record")
        return cast("Record", record)


def versions(folder: Path) -> Iterator[Any]:
    """The schemas of one record, lowest version first.

    Logical types, meant for other tools, are dropped: a time stays an integer.
    """
    paths = sorted(folder.glob("v*.avsc"), key=lambda path: int(path.stem[1:]))
    for path in paths:
        yield json.loads(path.read_text("utf-8"), object_hook=_without_logical_type)


def _without_logical_type(node: dict[str, Any]) -> dict[str, Any]:
    node.pop("logicalType", None)
    return node


def header_of(schema: Any) -> bytes:
    """The header of every record of this schema."""
    # fastavro gives the fingerprint in little-endian order already, as the header wants it.
    return MAGIC + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def _fault_of_header(data: bytes) -> str:
    if not data:
        return "empty"
    if data[:2] != MAGIC:
        return f"not Avro single-object encoding: starts with {data[:2].hex(' ')}, not c3 01"
    if len(data) < HEADER_BYTES:
        return f"truncated Avro: {len(data)} bytes, the header alone has {HEADER_BYTES}"
    return f"unknown schema fingerprint {data[2:HEADER_BYTES].hex()}"


def _fault_of(error: Exception) -> str:
    match error:
        case EOFError() | IndexError():  # the latter when they end within a number
            return TRUNCATED
        case EnumValueUnknown():
            return "an enum has no value of this number"
        case UnicodeDecodeError():
            return f"not valid UTF-8: byte {error.object[error.start]:#04x} in a string"
        case _:
            return f"does not match its schema: {type(error).__name__}: {error}"


@functools.cache
def installed() -> RecordCodec:
    """The codec of the installed schemas; making it takes a tenth of a second."""
    return RecordCodec(data_path("schemas"))


def encode(record: Record) -> bytes:
    """The bytes of a record, by the installed schemas; see `RecordCodec.encode`."""
    return installed().encode(record)


def decode(data: bytes) -> Record:
    """The record of these bytes, by the installed schemas; see `RecordCodec.decode`."""
    return installed().decode(data)


def schema_problems() -> list[str]:
    """Problems with the installed schemas, a sentence each; empty when there are none."""
    found = []
    for name, kind in TOPOLOGY.schemas.items():
        known = list(versions(data_path("schemas") / name))
        found += [f"{name}: {problem}" for problem in _version_problems(known)]
        if [item["name"] for item in known[-1]["fields"]] != field_names(kind):
            found.append(f"{name}: the highest version does not have the fields of the record")
    return found


def _version_problems(known: list[Any]) -> Iterator[str]:
    """FULL_TRANSITIVE compatibility: every version reads every other; fingerprints differ."""
    for (i, writer), (j, reader) in itertools.permutations(enumerate(known, start=1), 2):
        for problem in unreadable(writer, reader):
            yield f"v{j} cannot read v{i}: {problem}"
        if i < j and header_of(writer) == header_of(reader):
            yield f"v{i} and v{j} have one fingerprint: they differ in defaults or docs only"
