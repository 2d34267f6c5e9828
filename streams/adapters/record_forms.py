"""Records to plain values and back, by functions written out once for each record type."""

from __future__ import annotations

import dataclasses
import enum
import types
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin, get_type_hints

__all__ = ["Convert", "form_of"]

Convert = Callable[[Any], Any]


def form_of(kind: type) -> tuple[Convert, Convert]:
    """What turns a record of this type into a dict of plain values, and back.

    The functions are generated, as those of `dataclasses` are: written out field by field they
    take a third of the time of a loop over the fields.

    Raises
    ------
    TypeError
        A field's type has no plain form.
    """
    hints = get_type_hints(kind)
    scope: dict[str, Any] = {"kind": kind}
    to_parts, from_parts = [], []
    for item in dataclasses.fields(kind):
        name = item.name
        to_plain, from_plain = _value_form(hints[name])
        scope |= {f"to_{name}": to_plain, f"from_{name}": from_plain}
        to_parts.append(f"{name!r}: " + (f"to_{name}(r.{name})" if to_plain else f"r.{name}"))
        from_parts.append(
            f"{name}=" + (f"from_{name}(d[{name!r}])" if from_plain else f"d[{name!r}]")
        )
    return (
        eval(f"lambda r: {{{', '.join(to_parts)}}}", scope),  # noqa: S307  # from our own fields
        eval(f"lambda d: kind({', '.join(from_parts)})", scope),  # noqa: S307  # the same
    )


def _value_form(hint: Any) -> tuple[Convert | None, Convert | None]:
    """The same for one value; None where it is plain already."""
    if hint in {str, int, float, bool, bytes} or get_origin(hint) in {Mapping, types.UnionType}:
        return None, None
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        return None, {member.value: member for member in hint}.__getitem__
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return form_of(hint)
    if get_origin(hint) is tuple:
        return _tuple_form(get_args(hint))
    raise TypeError(f"{hint} has no plain form")


def _tuple_form(items: tuple[Any, ...]) -> tuple[Convert | None, Convert | None]:
    if items[-1] is not Ellipsis:
        return None, _exactly(len(items))
    to_item, from_item = _value_form(items[0])
    return (
        None if to_item is None else lambda values: [to_item(value) for value in values],
        tuple if from_item is None else lambda data: tuple([from_item(value) for value in data]),
    )


def _exactly(count: int) -> Convert:
    def convert(data: list[Any]) -> tuple[Any, ...]:
        if len(data) != count:
            raise ValueError(f"{len(data)} values where {count} belong")
        return tuple(data)

    return convert
