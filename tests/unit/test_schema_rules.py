from __future__ import annotations

from typing import Any

import pytest

from streams.adapters.avro.compatibility import unreadable

Schema = Any


def record(*fields: dict[str, Any], name: str = "R") -> Schema:
    return {"type": "record", "name": name, "fields": list(fields)}


def item(name: str, kind: Schema = "string", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def enum(*symbols: str, **more: Any) -> Schema:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


A, B_PLAIN, B_DEFAULT = item("a"), item("b"), item("b", default="")

# What is done to a schema, the older one, the newer one, whether the newer reads the older
# (BACKWARD) and whether the older reads the newer (FORWARD). FULL is both.
CHANGES: list[tuple[str, Schema, Schema, bool, bool]] = [
    ("nothing", record(A), record(A), True, True),
    ("adding a field with a default", record(A), record(A, B_DEFAULT), True, True),
    ("adding a field without one", record(A), record(A, B_PLAIN), False, True),
    ("removing a field with a default", record(A, B_DEFAULT), record(A), True, True),
    ("removing a field without one", record(A, B_PLAIN), record(A), True, False),
    ("renaming a field", record(A), record(B_PLAIN), False, False),
    ("renaming a record", record(A), record(A, name="S"), False, False),
    ("moving a field", record(A, B_PLAIN), record(B_PLAIN, A), True, True),
    ("other words", record(A), record(item("a", doc="new")), True, True),
    ("another default", record(B_DEFAULT), record(item("b", default="x")), True, True),
    ("widening int to long", record(item("a", "int")), record(item("a", "long")), True, False),
    ("widening long to double", record(item("a", "long")), record(item("a", "double")), True, False),
    ("string to bytes", record(item("a")), record(item("a", "bytes")), True, True),
    ("string to long", record(item("a")), record(item("a", "long")), False, False),
    ("allowing null", record(A), record(item("a", ["null", "string"])), True, False),
    ("a wider union", record(item("a", ["null", "int"])), record(item("a", ["null", "int", "string"])), True, False),
    ("a logical type", record(item("a", "long")), record(item("a", {"type": "long", "logicalType": "timestamp-millis"})), True, True),
    ("adding a symbol to an enum", record(item("a", enum("x"))), record(item("a", enum("x", "y"))), True, False),
    ("adding one where the enum has a default", record(item("a", enum("x", default="x"))), record(item("a", enum("x", "y", default="x"))), True, True),
    ("items of an array", {"type": "array", "items": "string"}, {"type": "array", "items": "long"}, False, False),
    ("values of a map", {"type": "map", "values": "int"}, {"type": "map", "values": "long"}, True, False),
    ("a field of a record within", record(item("a", record(A, name="I"))), record(item("a", record(A, B_PLAIN, name="I"))), False, True),
    ("a field of a record named again", record(item("a", record(A, name="I")), item("c", "I")), record(item("a", record(A, B_PLAIN, name="I")), item("c", "I")), False, True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("older", "newer", "backward", "forward"),
    [pytest.param(*schemas, id=change) for change, *schemas in CHANGES],
)
def test_a_change_is_compatible_or_not(
    older: Schema, newer: Schema, backward: bool, forward: bool
) -> None:
    assert (unreadable(older, newer) == []) is backward
    assert (unreadable(newer, older) == []) is forward


@pytest.mark.parametrize(
    ("older", "newer", "sentence"),
    [
        (record(A), record(A, B_PLAIN), "'b' is not in the older data and has no default"),
        (record(A), record(item("a", "long")), "'a': string cannot be read as long"),
        (enum("x", "y"), enum("x"), "the reader's enum lacks y and has no default"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(older: Schema, newer: Schema, sentence: str) -> None:
    (said,) = unreadable(older, newer)

    assert sentence in said
