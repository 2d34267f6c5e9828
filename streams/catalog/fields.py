"""The fields of catalogue entries, and the readers of their values from YAML nodes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ruamel.yaml.nodes import Node, SequenceNode

from streams.catalog.yaml_nodes import FieldInvalid, number_of, text_of, word_of
from streams.records.catalog import MOST

__all__ = ["SECTIONS", "CatalogField", "name_of", "near"]

MAX_NAME = 256  # characters of a name
MAX_WHOLE = 10**9
_MOST_DIGITS = 40  # that are read of a whole number
MAX_STEPS = 64  # steps of a composite, and constituents of a step


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogField:
    """A field of an entry."""

    read: Callable[[Node], Any]
    about: str
    required: bool = True


def near(name: str, known: Mapping[str, Any]) -> str:
    """A question about the nearest of the known names, or nothing."""
    found = get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def name_of(node: Node) -> str:
    """A name: some text, not too long."""
    name = text_of(node)
    if not name.strip():
        raise FieldInvalid(node, "must not be empty")
    if len(name) > MAX_NAME:
        raise FieldInvalid(node, f"must have {MAX_NAME} characters at most, it has {len(name)}")
    return name


def amount(node: Node) -> float:
    """A number that is not negative."""
    text = number_of(node)
    if text is None:
        raise FieldInvalid(node, f"must be a number, it is {word_of(node)[:40]!r}")
    number = float(text)
    if not math.isfinite(number):
        raise FieldInvalid(node, f"must be a finite number, it is {text[:40]!r}")
    if number < 0:
        raise FieldInvalid(node, f"must not be negative, it is {text[:40]}")
    if number > MOST:
        raise FieldInvalid(node, f"must be at most {MOST:g}, it is {text[:40]}")
    return abs(number)  # -0 is 0


def share(node: Node) -> float:
    """A number from 0 to 1."""
    number = amount(node)
    if number > 1:
        raise FieldInvalid(node, f"must be a share from 0 to 1, it is {text_of(node)}")
    return number


def amount_or_all(node: Node) -> float:
    """A number that is not negative, or .inf."""
    return math.inf if word_of(node).lower() == ".inf" else amount(node)


def whole(least: int) -> Callable[[Node], int]:
    """A reader of whole numbers that are not below `least`."""

    def read(node: Node) -> int:
        text = number_of(node)
        if text is None or not text.lstrip("+-").isdigit():
            raise FieldInvalid(node, f"must be a whole number, it is {word_of(node)[:40]!r}")
        number = int(text[:_MOST_DIGITS])
        if not least <= number <= MAX_WHOLE:
            raise FieldInvalid(node, f"must be between {least} and {MAX_WHOLE}, it is {text[:40]}")
        return number

    return read


def words(node: Node) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(node, SequenceNode):
        raise FieldInvalid(node, "must be a list, as [python, -m, service]")
    return tuple(text_of(item) for item in node.value)


def yes_or_no(node: Node) -> bool:
    """A truth value."""
    text = word_of(node)
    if text.lower() not in {"true", "false"}:
        raise FieldInvalid(node, f"must be true or false, it is {text[:40]!r}")
    return text.lower() == "true"


def path(node: Node) -> str:
    """A path of a URL."""
    text = text_of(node)
    if not text.startswith("/"):
        raise FieldInvalid(node, f"must begin with /, it is {text[:40]!r}")
    return text


def json_text(node: Node) -> str:
    """JSON, as it is written."""
    text = text_of(node)
    try:
        json.loads(text)
    except ValueError:
        raise FieldInvalid(node, f"must be JSON, it is {text[:40]!r}") from None
    return text


def steps_of(node: Node) -> tuple[tuple[tuple[Node, str], ...], ...]:
    """The steps of a composite: names or lists of names, each with its node."""
    if not isinstance(node, SequenceNode):
        raise FieldInvalid(node, "must be a list of steps, as [[pricing, stock], payment]")
    if not 0 < len(node.value) <= MAX_STEPS:
        raise FieldInvalid(node, f"must have 1 to {MAX_STEPS} steps, it has {len(node.value)}")
    return tuple(_step(item) for item in node.value)


def _step(node: Node) -> tuple[tuple[Node, str], ...]:
    items = node.value if isinstance(node, SequenceNode) else [node]
    if not 0 < len(items) <= MAX_STEPS:
        raise FieldInvalid(
            node, f"must have 1 to {MAX_STEPS} constituents a step, it has {len(items)}"
        )
    names = tuple((item, name_of(item)) for item in items)
    twice = [name for i, (_, name) in enumerate(names) if name in {n for _, n in names[:i]}]
    if twice:
        raise FieldInvalid(node, f"names {twice[0]!r} twice in one step")
    return names


# What one instance takes, or a pool has.
_RESOURCES = {
    "cpu": CatalogField(read=amount, about="millicores"),
    "memory": CatalogField(read=amount, about="MiB"),
}

SECTIONS: Mapping[str, Mapping[str, CatalogField]] = {
    "constituents": {
        **_RESOURCES,
        "bandwidth": CatalogField(read=amount, about="Mbit/s", required=False),
        "warm_up_ms": CatalogField(read=whole(0), about="ms from start to first answer"),
        "price": CatalogField(read=amount, about="of one warm instance for an hour"),
        "concurrency": CatalogField(read=whole(1), about="requests served at once", required=False),
        "command": CatalogField(read=words, about="what to start", required=False),
        "health": CatalogField(read=path, about="path that answers when ready", required=False),
        "warm_up": CatalogField(read=path, about="path to ask before it is warm", required=False),
        "warm_up_body": CatalogField(read=json_text, about="JSON to post there", required=False),
        "base": CatalogField(read=name_of, about="constituent that it starts from", required=False),
    },
    "composites": {  # or the steps alone
        "steps": CatalogField(read=steps_of, about="what is called after what"),
        "logged": CatalogField(read=words, about="parameters that may be logged", required=False),
        "idempotent": CatalogField(read=yes_or_no, about="may be served twice", required=False),
    },
    "tiers": {
        "weight": CatalogField(read=amount, about="worth of a second not waited"),
        "sla_ms": CatalogField(read=whole(0), about="latency promised"),
        "priority": CatalogField(read=whole(-MAX_WHOLE), about="higher is first", required=False),
        "quota": CatalogField(read=share, about="share of a pool it may hold", required=False),
    },
    "pools": {
        **_RESOURCES,
        "bandwidth": CatalogField(read=amount, about="Mbit/s"),
        "budget": CatalogField(read=amount_or_all, about="most spent in an hour", required=False),
        "trust_tier_header": CatalogField(
            read=yes_or_no, about="requests may say their tier", required=False
        ),
    },
}
