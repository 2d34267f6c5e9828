"""Records from plain values, by functions made once for each record type."""

from __future__ import annotations

import dataclasses
import enum
import types
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin, get_type_hints

__all__ = ["Convert", "form_of"]

Convert = Callable[[Any], Any]


def form_of(kind: type) -> Convert:
    """What makes a record of this type of a dict of plain values, as Avro has them.

    It is generated, as the methods of a dataclass are, and fills the slots itself: the `__init__`
    of a frozen dataclass takes three times as long, and has nothing to add.

    Raises
    ------
    TypeError
        A field's type has no plain form, or the type is no dataclass with slots.
    """
    hints = get_type_hints(kind)
    scope: dict[str, Any] = {"new": object.__new__, "kind": kind}
    lines = ["def read(values):", "    record = new(kind)"]
    for item in dataclasses.fields(kind):
        name = item.name
        slot = getattr(kind, name, None)
        if not isinstance(slot, types.MemberDescriptorType):
            raise TypeError(f"{kind.__name__} has no slots")
        convert = _converter(hints[name])
        scope |= {f"set_{name}": slot.__set__, f"convert_{name}": convert}
        value = f"values[{name!r}]"
        lines.append(
            f"    set_{name}(record, " + (f"convert_{name}({value}))" if convert else f"{value})")
        )
    exec("\n".join([*lines, "    return record"]), scope)  # noqa: S102  # names of our own fields
    made: Convert = scope["read"]
    return made


def _converter(hint: Any) -> Convert | None:
    """The same for one value; None where it is as it should be."""
    if hint in {str, int, float, bool, bytes} or get_origin(hint) in {Mapping, types.UnionType}:
        return None
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        return {member.value: member for member in hint}.__getitem__
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
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
