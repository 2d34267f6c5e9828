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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from fastavro import parse_schema, schemaless_reader
from fastavro.schema import fingerprint, to_parsing_canonical_form

from streams import records
from streams.adapters.avro_reader import Read, reader_of
from streams.adapters.avro_writer import Write, writer_of
from streams.adapters.record_forms import Convert, field_names, form_of
from streams.adapters.schema_rules import unreadable
from streams.records import Record, catalog, control, trials, verdicts
from streams.runtime.files import data_path

__all__ = ["RECORDS", "Codec", "Undecodable", "decode", "encode", "installed", "schema_problems"]

RECORDS: Mapping[str, type] = {
    "request": records.Request,
    "prediction": records.Prediction,
    "demand": records.Demand,
    "constituent": catalog.Constituent,
    "composite": catalog.Composite,
    "tier": catalog.Tier,
    "pool": catalog.Pool,
    "utilisation": records.Utilisation,
    "control": control.Control,
    "command": records.Command,
    "verdict": verdicts.Verdict,
    "trial": trials.Trial,
    "instance": records.Instance,
    "outcome": records.Outcome,
    "feedback": records.Feedback,
    "dead-letter": records.DeadLetter,
}  # folder below schemas/ -> record

MAGIC = b"\xc3\x01"
HEADER_BYTES = len(MAGIC) + 8
TRUNCATED = "truncated Avro: the record ends before its schema does"


class Undecodable(ValueError):
    """Bytes that are no record; the message is the reason."""


class _Writer(NamedTuple):
    header: bytes
    write: Write


def _older(schema: Any, highest: Any, make: Convert) -> Read:
    """What reads bytes of an earlier version as the highest one has them."""

    def read(data: bytes, at: int) -> tuple[Any, int]:
        body = io.BytesIO(data)
        body.seek(at)
        return make(schemaless_reader(body, schema, highest)), body.tell()

    return read


class Codec:
    """Encoder and decoder of every record whose schemas are below a folder."""

    def __init__(self, schemas: Path) -> None:
        self._writers: dict[type, _Writer] = {}
        self._readers: dict[bytes, Read] = {}
        for name, kind in RECORDS.items():
            self._register(kind, [parse_schema(schema) for schema in versions(schemas / name)])

    def _register(self, kind: type, parsed: list[Any]) -> None:
        *older, highest = parsed
        for schema in older:
            self._readers[header_of(schema)] = _older(schema, highest, form_of(kind))
        self._readers[header_of(highest)] = reader_of(highest, kind)
        self._writers[kind] = _Writer(header_of(highest), writer_of(highest))

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
        Undecodable
            Whatever is wrong with them; nothing else is raised.
        """
        read = self._readers.get(data[:HEADER_BYTES]) if data else None
        if read is None:
            raise Undecodable(_fault_of_header(data))
        try:
            record, end = read(data, HEADER_BYTES)
        except Exception as error:  # hostile bytes: the library may raise anything
            raise Undecodable(_fault_of(error)) from error
        if end != len(data):
            raise Undecodable(f"{len(data) - end} bytes after the record")
        return cast("Record", record)


def versions(folder: Path) -> Iterator[Any]:
    """The schemas of one record, lowest version first.

    Logical types are for other tools and left out here: a time stays an integer.
    """
    paths = sorted(folder.glob("v*.avsc"), key=lambda path: int(path.stem[1:]))
    for path in paths:
        yield json.loads(path.read_text("utf-8"), object_hook=_without_logical_type)


def _without_logical_type(node: dict[str, Any]) -> dict[str, Any]:
    node.pop("logicalType", None)
    return node


def header_of(schema: Any) -> bytes:
    """What stands before every record of this schema."""
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
        case EOFError():
            return TRUNCATED
        case IndexError():  # of bytes, when they end within a number, or of an enum's symbols
            return "an enum has no value of this number" if "list" in str(error) else TRUNCATED
        case UnicodeDecodeError():
            return f"not valid UTF-8: byte {error.object[error.start]:#04x} in a string"
        case _:
            return f"not the record its schema says: {type(error).__name__}: {error}"


@functools.cache
def installed() -> Codec:
    """The codec of the schemas of this installation; making it takes a tenth of a second."""
    return Codec(data_path("schemas"))


def encode(record: Record) -> bytes:
    """The bytes of a record, by the schemas of this installation; see `Codec.encode`."""
    return installed().encode(record)


def decode(data: bytes) -> Record:
    """The record of these bytes, by the schemas of this installation; see `Codec.decode`."""
    return installed().decode(data)


def schema_problems() -> list[str]:
    """What is wrong with the schemas of this installation, a sentence each; empty when well."""
    found = []
    for name, kind in RECORDS.items():
        known = list(versions(data_path("schemas") / name))
        found += [f"{name}: {problem}" for problem in _version_problems(known)]
        if [item["name"] for item in known[-1]["fields"]] != field_names(kind):
            found.append(f"{name}: the highest version does not have the fields of the record")
    return found


def _version_problems(known: list[Any]) -> Iterator[str]:
    """FULL_TRANSITIVE: every version reads every other, and all tell themselves apart."""
    for (i, writer), (j, reader) in itertools.permutations(enumerate(known, start=1), 2):
        for problem in unreadable(writer, reader):
            yield f"v{j} cannot read v{i}: {problem}"
        if i < j and header_of(writer) == header_of(reader):
            yield f"v{i} and v{j} have one fingerprint: they differ in defaults or words only"
