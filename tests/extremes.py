"""Records of every kind with values as extreme as Avro can hold."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from streams.adapters.avro import codec
from streams.flow.topology import TOPICS
from streams.records import Record

__all__ = ["NOW", "hostile"]

NOW = 1_300_000
MANY = 10_000
INTS = st.sampled_from([-(2**63), -1, 0, 1, 7, NOW, 253_402_300_799_999, 2**53, 2**63 - 1])
FLOATS = st.sampled_from(
    [float("nan"), float("inf"), float("-inf"), -0.5, 0.0, 0.5, 1.0, 40.0, 1e15, 1e308, 5e-324]
)
TEXTS = st.sampled_from(
    [
        *("", "ann", "bob", "default", "gold", "red", "blue", "base", "loose", "draw red"),
        *("x", "\x00", "\x1b[31m", "\u202eevil", "\U0001f600", "y"),
    ]
).map(lambda text: text * {"x": 256, "\U0001f600": 256, "y": 300_000}.get(text, 1))


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field of this type, most of them extreme."""
    plain = {str: TEXTS, int: INTS, float: FLOATS, bool: st.booleans(), bytes: st.just(b"")}
    if hint in plain:
        return plain[hint]
    origin, args = get_origin(hint), get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        return st.one_of([st.none() if arg is type(None) else values(arg) for arg in args])
    if origin is Mapping:
        many = st.just({f"key {n}": "value" for n in range(MANY)})
        return st.one_of(st.dictionaries(TEXTS, TEXTS, max_size=3), many)
    if origin is tuple:
        return _tuples(args)
    if issubclass(hint, enum.Enum):
        return st.sampled_from(list(hint))
    return records(hint)


def _tuples(args: tuple[Any, ...]) -> st.SearchStrategy[tuple[Any, ...]]:
    if args[-1] is not Ellipsis:
        return st.tuples(*map(values, args))
    few = st.lists(values(args[0]), max_size=3).map(tuple)
    return st.one_of(few, values(args[0]).map(_many))


def _many(one: Any) -> tuple[Any, ...]:
    """As many as fit into a record."""
    return (one,) * min(MANY, 2_000_000 // len(repr(one)))


def records(kind: Any) -> st.SearchStrategy[Any]:
    """Records of this kind, or parts of one, with any values."""
    hints = get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else hints
    return st.builds(kind, **{name: values(hints[name]) for name in names})


@st.composite
def spoilt(draw: st.DrawFn, usual: Sequence[Record]) -> Any:
    """One of these records with a few of its fields, or of those of its parts, made extreme."""
    record: Any = draw(st.sampled_from(usual))
    hints = get_type_hints(type(record))
    for name in draw(st.lists(st.sampled_from(sorted(hints)), min_size=1, max_size=3)):
        value = getattr(record, name)
        parts = isinstance(value, tuple) and value and hasattr(value[0], "__slots__")
        made = (_spoilt_part(draw, value[0]), *value[1:]) if parts else draw(values(hints[name]))
        record = dataclasses.replace(record, **{name: made})
    return record


def _spoilt_part(draw: st.DrawFn, part: Any) -> Any:
    hints = get_type_hints(type(part))
    if not hints:  # a plain number or text
        return draw(values(type(part)))
    name = draw(st.sampled_from(sorted(hints)))
    change = {name: draw(values(hints[name]))}
    return (
        part._replace(**change)
        if hasattr(part, "_replace")
        else dataclasses.replace(part, **change)
    )


ANY = {topic: st.one_of([records(kind) for kind in TOPICS[topic].records]) for topic in TOPICS}


def sound(record: Record) -> bool:
    """Whether its schema can hold it: nobody can send another."""
    try:
        return len(codec.encode(record)) < 3_000_000
    except ValueError:
        return False


def hostile(topic: str, usual: Sequence[Record] = ()) -> st.SearchStrategy[Any]:
    """Records that anyone who may write to a topic can put there, some much like usual ones."""
    kinds = [ANY[topic], *([spoilt(usual)] if usual else [])]
    return st.one_of(kinds).filter(sound)
