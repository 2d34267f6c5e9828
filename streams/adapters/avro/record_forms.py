"""Plain values to records, by functions made once for each record type."""

from __future__ import annotations

import dataclasses
import enum
import types
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin, get_type_hints

__all__ = ["Convert", "field_names", "form_of", "maker_of"]

Convert = Callable[[Any], Any]


def form_of(kind: type) -> Convert:
    """A function from a dict of plain values, as fastavro reads them, to a record of this type.

    Raises
    ------
    TypeError
        A field's type has no plain form, or the type is not that of a record.
    """
    hints = get_type_hints(kind)
    converters = {name: _converter(hints[name]) for name in field_names(kind)}
    converted = [(name, convert) for name, convert in converters.items() if convert]

    def convert_values(values: dict[str, Any]) -> Any:
        for name, convert in converted:
            values[name] = convert(values[name])
        return kind(**values)

    return convert_values


def field_names(kind: type[Any]) -> list[str]:
    """The fields of a dataclass or a named tuple, in order."""
    if issubclass(kind, tuple):
        return list(getattr(kind, "_fields", ()))
    return [item.name for item in dataclasses.fields(kind)]


def maker_of(kind: type, names: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The globals and the source that build `record` from one variable `its_…` per field.

    The source sets slots directly: the `__init__` of a frozen dataclass takes three times as long
    and adds nothing.

    Raises
    ------
    TypeError
        The type is neither a dataclass with slots nor a named tuple, or has other fields.
    """
    if set(field_names(kind)) != set(names):
        raise TypeError(f"{kind.__name__} has other fields than {', '.join(names)}")
    if issubclass(kind, tuple):
        values = "".join(f"its_{name}, " for name in field_names(kind))
        return {"new": tuple.__new__, "kind": kind}, [f"    record = new(kind, ({values}))"]
    scope: dict[str, Any] = {"new": object.__new__, "kind": kind}
    lines = ["    record = new(kind)"]
    for name in names:
        slot = getattr(kind, name, None)
        if not isinstance(slot, types.MemberDescriptorType):
            raise TypeError(f"{kind.__name__} has no slot {name}")
        scope[f"set_{name}"] = slot.__set__
        lines.append(f"    set_{name}(record, its_{name})")
    return scope, lines


def _converter(hint: Any) -> Convert | None:
    """The conversion of one value; None where the plain value is the right one."""
    if hint in {str, int, float, bool, bytes} or get_origin(hint) in {Mapping, types.UnionType}:
        return None
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        return {member.value: member for member in hint}.__getitem__
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or hasattr(hint, "_fields")):
        return form_of(hint)
    if get_origin(hint) is tuple:
        return _tuple(get_args(hint))
    raise TypeError(f"{hint} has no plain form")


def _tuple(items: tuple[Any, ...]) -> Convert:
    if items[-1] is not Ellipsis:
        return _exactly(len(items))
    convert = _converter(items[0])
    return tuple if convert is None else lambda values: tuple([convert(v) for v in values])


def _exactly(count: int) -> Convert:
    def convert(values: list[Any]) -> tuple[Any, ...]:
        if len(values) != count:
            raise ValueError(f"{len(values)} values where {count} belong")
        return tuple(values)

    return convert
