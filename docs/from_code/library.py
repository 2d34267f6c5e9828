"""The records of the package foremesh as Markdown: what they have, and what the code says of it."""

from __future__ import annotations

import enum
import inspect
import re
from dataclasses import is_dataclass
from typing import Any

import foremesh
from from_code.parts import table

FIELD = re.compile(r"^    (\w+)(?:: (.+?))?(?: = (.+?))?(?:  # (.+))?$", re.MULTILINE)


def records() -> str:
    """A table for each dataclass and each choice that the package exports."""
    exported = [getattr(foremesh, name) for name in foremesh.__all__]
    kinds = [one for one in exported if isinstance(one, type)]
    return "\n\n".join(
        _record(kind)
        for kind in kinds
        if kind is not foremesh.Settings and (is_dataclass(kind) or issubclass(kind, enum.Enum))
    )


def _record(kind: type[Any]) -> str:
    body = inspect.getsource(kind)
    first = re.search(r"^    (?:def |@)", body, re.MULTILINE)
    found = FIELD.findall(body[: first.start()] if first else body)
    rows = [
        (f"`{name}`", f"`{form}`" if form else "", f"`{default}`" if default else "", about)
        for name, form, default, about in found
        if form or default
    ]
    heads = ("name", "type", "default" if is_dataclass(kind) else "value", "what it is")
    return f"### {kind.__name__}\n\n{inspect.getdoc(kind)}\n\n{table(heads, rows)}"
