from __future__ import annotations

import io
import json
import shutil
from contextlib import suppress
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer
from harness import CHECKOUT
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import records
from streams.adapters.avro.codec import (
    HEADER_BYTES,
    MOST_BYTES,
    RecordCodec,
    RecordUndecodable,
    decode,
    encode,
    header_of,
    schema_problems,
    versions,
)
from streams.flow.topology import TOPOLOGY
from streams.records import (
    Outcome,
    Record,
    Request,
    Result,
    Route,
    Source,
    catalog,
    control,
    trials,
    verdicts,
)
from streams.records.catalog import Pool, Resources

RECORDS = TOPOLOGY.schemas
LONG = st.integers(-(2**63), 2**63 - 1)
NUMBER = st.floats(allow_nan=False)


def register_numbers() -> None:
    """Integers as wide as Avro's, floats that are equal to themselves."""
    st.register_type_strategy(int, LONG)
    st.register_type_strategy(float, NUMBER)


register_numbers()
FEWER = settings(max_examples=40)  # a record takes long to make up
ANY_RECORD: st.SearchStrategy[Any] = st.one_of([st.from_type(kind) for kind in RECORDS.values()])

REQUEST = Request(
    request_id="r-1",
    user="ann",
    service="checkout",
    at_ms=1_700_000_000_000,
    parameters={"size": "XL", "größe": "42"},
    tier="gold",
    pool="eu",
    source=Source.GATEWAY,
)


@FEWER
@given(ANY_RECORD)
def test_a_record_comes_back_as_it_went(record: Record) -> None:
    assert decode(encode(record)) == record


def test_every_record_type_has_a_schema() -> None:
    kinds = {
        kind
        for module in (records, catalog, control, trials, verdicts)
        for name in module.__all__
        if is_dataclass(kind := getattr(module, name)) and isinstance(kind, type)
    }
    parts = {
        records.ServiceProbability,
        records.ServiceDemand,
        records.MeasuredWarmUp,
        records.Part,
        catalog.Resources,
        catalog.Catalog,
        control.Pin,
        control.Quota,
        control.Variant,
        trials.Score,
        verdicts.Expected,
        verdicts.Alternative,
    }

    assert kinds - parts == set(RECORDS.values())
    assert {folder.name for folder in (CHECKOUT / "schemas").iterdir()} == set(RECORDS)


@FEWER
@given(ANY_RECORD)
def test_the_bytes_are_those_of_a_general_avro_writer(record: Record) -> None:
    name = next(name for name, kind in RECORDS.items() if kind is type(record))
    *_, schema = versions(CHECKOUT / "schemas" / name)
    expected = io.BytesIO()
    plain = asdict(record)
    if isinstance(record, records.Prediction | records.Demand):
        plain["services"] = [one._asdict() for one in record.services]
    schemaless_writer(expected, parse_schema(schema), plain)

    assert encode(record)[HEADER_BYTES:] == expected.getvalue()


def test_the_header_is_the_published_fingerprint_in_little_endian_order() -> None:
    # Of the schema "null": the first of Avro's own test data, share/test/data/schema-tests.txt.
    published = 7195948357588979594

    assert header_of("null") == b"\xc3\x01" + published.to_bytes(8, "little")


@pytest.mark.parametrize(
    "wrong",
    [replace(REQUEST, at_ms=2**63), replace(REQUEST, user="\ud800")],
)
def test_what_does_not_fit_its_type_is_not_written(wrong: Request) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode(wrong)


# --------------------------------------------------------------------------- versions


@pytest.fixture
def older(tmp_path: Path) -> tuple[RecordCodec, bytes]:
    """A codec with an older version of the request, without pool, and REQUEST written by it."""
    shutil.copytree(CHECKOUT / "schemas", tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "request"
    schema = json.loads((folder / "v1.avsc").read_text())
    schema["fields"] = [item for item in schema["fields"] if item["name"] != "pool"]
    (folder / "v1.avsc").write_text(json.dumps(schema))
    old = io.BytesIO()
    schemaless_writer(old, parse_schema(schema), asdict(REQUEST))
    return RecordCodec(tmp_path), header_of(parse_schema(schema)) + old.getvalue()


def test_bytes_of_an_older_version_are_read_with_the_defaults(
    older: tuple[RecordCodec, bytes],
) -> None:
    codec, data = older

    assert codec.decode(data) == replace(REQUEST, pool="default")


@pytest.mark.parametrize(
    ("end", "fault"),
    [(b"\x08", "an enum has no value of this number"), (b"", "truncated Avro")],
)
def test_the_fault_of_an_older_version_is_named_too(
    older: tuple[RecordCodec, bytes], end: bytes, fault: str
) -> None:
    codec, data = older

    with pytest.raises(RecordUndecodable, match=fault):
        codec.decode(data[:-1] + end)


def test_the_schemas_of_this_version_are_in_order() -> None:
    assert schema_problems() == []


def test_infinity_is_a_number_like_others() -> None:
    pool = Pool(pool="p", capacity=Resources(cpu=float("inf")))

    assert decode(encode(pool)) == pool


# --------------------------------------------------------------------------- hostile bytes


@given(st.binary(max_size=2_000))
def test_noise_is_undecodable_and_nothing_else(data: bytes) -> None:
    with pytest.raises(RecordUndecodable):
        decode(data)


@FEWER
@given(ANY_RECORD, st.binary(max_size=200))
def test_noise_behind_a_header_raises_nothing_else(record: Record, noise: bytes) -> None:
    try:
        decoded = decode(encode(record)[:HEADER_BYTES] + noise)
    except RecordUndecodable:
        return
    assert type(decoded) is type(record)


@FEWER
@given(ANY_RECORD, st.data())
def test_a_truncated_record_is_undecodable(record: Record, data: st.DataObject) -> None:
    whole = encode(record)
    cut = data.draw(st.integers(0, len(whole) - 1))

    with pytest.raises(RecordUndecodable):
        decode(whole[:cut])


@FEWER
@given(ANY_RECORD, st.binary(min_size=1, max_size=50))
def test_bytes_after_the_record_are_undecodable(record: Record, more: bytes) -> None:
    with pytest.raises(RecordUndecodable, match=f"{len(more)} bytes after the record"):
        decode(encode(record) + more)


@FEWER
@given(ANY_RECORD, st.data())
def test_a_flipped_byte_never_raises_anything_else(record: Record, data: st.DataObject) -> None:
    changed = bytearray(encode(record))
    position = data.draw(st.integers(0, len(changed) - 1))
    changed[position] ^= data.draw(st.integers(1, 255))

    with suppress(RecordUndecodable):
        decode(bytes(changed))


HEADER = encode(REQUEST)[:HEADER_BYTES]
HUGE = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"  # the varint of 2**63 - 1


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "empty"),
        (b"\xc3\x01\x00", "truncated Avro: 3 bytes, the header alone has 10"),
        (encode(REQUEST)[:30], "truncated Avro"),
        (HEADER, "truncated Avro"),
        (b'{"user": "ann"}', "not Avro single-object encoding: starts with 7b 22"),
        (b"\x00\x00\x00\x00\x07xyz", "not Avro single-object encoding: starts with 00 00"),
        (b"\xc3\x01" + bytes(8), "unknown schema fingerprint 0000000000000000"),
        (encode(REQUEST) + b"\x00", "1 bytes after the record"),
        (encode(REQUEST).replace(b"ann", b"a\xffn"), "not valid UTF-8: byte 0xff"),
        (encode(REQUEST)[:-2] + b"\x08\x00", "an enum has no value of this number"),
        (HEADER + HUGE, "truncated Avro"),
        (HEADER + bytes(MOST_BYTES), "3145738 bytes, more than the 3145728 of a record"),
        (HEADER + HUGE + b"\xff" * 2**20, "truncated Avro"),
        (HEADER + b"\x01" + b"ann", "truncated Avro"),  # a negative length
        (HEADER + b"\x80" * 2**12, "a number of more than 64 bits"),
        (encode(REQUEST)[:-2] + b"\x01\x00", "an enum has no value of this number"),  # -1
    ],
)
def test_the_fault_is_named(data: bytes, fault: str) -> None:
    with pytest.raises(RecordUndecodable, match=fault):
        decode(data)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("claimed", [HUGE, b"\xfd\xff\xff\xff\xff\xff\xff\xff\xff\x01"])
def test_an_array_that_claims_a_great_length_costs_no_more_than_its_bytes(claimed: bytes) -> None:
    outcome = Outcome(
        request_id="",
        user="",
        tier="",
        pool="",
        service="",
        at_ms=0,
        result=Result.HIT,
        route=Route.STANDARD,
        status=0,
        latency_ms=0.0,
        cold_ms=0,
        saved_ms=0,
        parts=(),
    )
    whole = encode(outcome)  # ends with the empty array's 0 and the source's 0

    with pytest.raises(RecordUndecodable):
        decode(whole[:-2] + claimed + bytes(64))
