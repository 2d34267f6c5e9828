"""The fields of catalogue entries, and the readers of their values from YAML nodes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from unicodedata import category

from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from streams.catalog.yaml_nodes import FieldInvalid, number_of, text_of, word_of
from streams.records.catalog import MOST

__all__ = [
    "MAX_NAME",
    "NAME",
    "SECTIONS",
    "CatalogField",
    "ValueForm",
    "has_control",
    "name_of",
    "near",
]

MAX_NAME = 256  # characters of a name
MAX_WHOLE = 10**9
_MOST_DIGITS = 40  # that are read of a whole number
MAX_STEPS = 64  # steps of a composite, and constituents of a step
EXAMPLE_STEPS = "[[pricing, stock], payment]"


@dataclass(frozen=True, slots=True)
class ValueForm:
    """What the value of a field may be."""

    read: Callable[[Node], Any]
    about: str
    schema: Mapping[str, Any]  # the same as JSON Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogField:
    """A field of an entry."""

    form: ValueForm
    about: str
    example: str  # as YAML
    required: bool = True


def near(name: str, known: Mapping[str, Any]) -> str:
    """A question about the nearest of the known names, or nothing."""
    found = get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def has_control(name: str) -> bool:
    """Whether it has a character that is none to be seen, but moves a cursor or ends a line."""
    return not name.isprintable() and any(category(character) == "Cc" for character in name)


def name_of(node: Node) -> str:
    """A name: some text, not too long."""
    name = text_of(node)
    if not name.strip():
        raise FieldInvalid(node, "must not be empty")
    if has_control(name):
        raise FieldInvalid(node, f"must have no control character, it is {name[:40]!r}")
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
        raise FieldInvalid(node, "must be a list of texts, as [one, another]")
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
        raise FieldInvalid(node, f"must be a list of steps, as {EXAMPLE_STEPS}")
    if not 0 < len(node.value) <= MAX_STEPS:
        raise FieldInvalid(node, f"must have 1 to {MAX_STEPS} steps, it has {len(node.value)}")
    return tuple(_step(item, number) for number, item in enumerate(node.value, start=1))


def _step(node: Node, number: int) -> tuple[tuple[Node, str], ...]:
    items = node.value if isinstance(node, SequenceNode) else [node]
    if not 0 < len(items) <= MAX_STEPS:
        raise FieldInvalid(
            node, f"must have 1 to {MAX_STEPS} constituents a step, step {number} has {len(items)}"
        )
    names = tuple((item, _constituent(item, number)) for item in items)
    twice = [name for i, (_, name) in enumerate(names) if name in {n for _, n in names[:i]}]
    if twice:
        raise FieldInvalid(node, f"names {twice[0]!r} twice in one step")
    return names


def _constituent(node: Node, number: int) -> str:
    """The name in a step of this number."""
    try:
        return name_of(node)
    except FieldInvalid as wrong:
        if isinstance(node, SequenceNode):
            what = "has a list within its list: what runs in parallel is one list"
        elif isinstance(node, MappingNode):
            what = "has a mapping: a step is a name, or a list of names that run in parallel"
        else:
            what = f"has a name that {wrong}"
        raise FieldInvalid(node, f"must be as {EXAMPLE_STEPS}, but step {number} {what}") from None


_NAME: Mapping[str, Any] = {
    "type": "string",
    "pattern": r"^(?=.*\S)[^\u0000-\u001f\u007f-\u009f]*$",
    "maxLength": MAX_NAME,
}
_NUMBER: Mapping[str, Any] = {"type": "number", "minimum": 0, "maximum": MOST}
_SCALAR = ["string", "number", "boolean"]  # without quotes, what is no text is taken for its text
_WORDS: Mapping[str, Any] = {
    "type": "array", "items": {"type": _SCALAR},
}  # fmt: skip
_AT_ONCE: Mapping[str, Any] = {
    "type": "array", "items": _NAME, "minItems": 1, "maxItems": MAX_STEPS, "uniqueItems": True,
}  # fmt: skip


def _whole(least: int, about: str) -> ValueForm:
    schema = {"type": "integer", "minimum": least, "maximum": MAX_WHOLE}
    return ValueForm(whole(least), about, schema)


AMOUNT = ValueForm(amount, "a number, not negative", _NUMBER)
SHARE = ValueForm(share, "a number from 0 to 1", {**_NUMBER, "maximum": 1})
# An infinite number has no form in JSON: editors see it as a number, or as text.
AMOUNT_OR_ALL = ValueForm(
    amount_or_all, "a number, not negative, or `.inf`", {"anyOf": [_NUMBER, {"const": ".inf"}]}
)
COUNT = _whole(1, "a whole number from 1")
MILLISECONDS = _whole(0, "a whole number, not negative")
RANK = _whole(-MAX_WHOLE, "a whole number")
WORDS = ValueForm(words, "a list of texts", _WORDS)
YES_OR_NO = ValueForm(yes_or_no, "`true` or `false`", {"type": "boolean"})
PATH = ValueForm(path, "a path, from `/`", {"type": "string", "pattern": "^/"})
JSON_TEXT = ValueForm(json_text, "JSON, as text", {"type": _SCALAR})
NAME = ValueForm(name_of, f"a name of at most {MAX_NAME} characters", _NAME)
STEPS = ValueForm(
    steps_of,
    f"a list of at most {MAX_STEPS} steps, each a name or a list of names that run in parallel",
    {
        "type": "array",
        "items": {"anyOf": [_NAME, _AT_ONCE]},
        "minItems": 1,
        "maxItems": MAX_STEPS,
    },
)


def _must(form: ValueForm, about: str, example: str) -> CatalogField:
    return CatalogField(form=form, about=about, example=example)


def _may(form: ValueForm, about: str, example: str) -> CatalogField:
    return CatalogField(form=form, about=about, example=example, required=False)


# What one instance takes, or a pool has.
_RESOURCES = {
    "cpu": _must(AMOUNT, "millicores", "500"),
    "memory": _must(AMOUNT, "MiB", "2048"),
}

SECTIONS: Mapping[str, Mapping[str, CatalogField]] = {
    "constituents": {
        **_RESOURCES,
        "bandwidth": _may(AMOUNT, "Mbit/s", "5"),
        "warm_up_ms": _must(MILLISECONDS, "ms from start to first answer, until measured", "8000"),
        "price": _must(AMOUNT, "of one warm instance for an hour, in your currency", "0.2"),
        "concurrency": _may(COUNT, "requests that one instance serves at once", "8"),
        "command": _may(
            WORDS,
            "what a local provisioner starts, with PORT in its environment",
            "[python, -m, model]",
        ),
        "health": _may(PATH, "answers 200 when ready", "/ready"),
        "warm_up": _may(PATH, "asked once before it counts as warm", "/draw"),
        "warm_up_body": _may(JSON_TEXT, "posted there", "'{\"steps\": 1}'"),
        "base": _may(
            NAME, "constituent that it starts from; `warm_up_ms` counts from a warm one", "model"
        ),
    },
    "composites": {  # or the steps alone
        "steps": _must(STEPS, "what is called after what", EXAMPLE_STEPS),
        "logged": _may(WORDS, "the only parameters that the access log may keep", "[page]"),
        "idempotent": _may(YES_OR_NO, "a request may be served twice, whatever its method", "true"),
    },
    "tiers": {
        "weight": _must(AMOUNT, "worth of a second not waited, in your currency", "0.02"),
        "sla_ms": _must(MILLISECONDS, "ms, the latency promised", "200"),
        "priority": _may(RANK, "higher is served first", "10"),
        "quota": _may(SHARE, "most of each resource of a pool for its warm instances", "0.3"),
    },
    "pools": {
        **_RESOURCES,
        "bandwidth": _must(AMOUNT, "Mbit/s", "1000"),
        "budget": _may(AMOUNT_OR_ALL, "most that warm instances may cost in an hour", "1.5"),
        "trust_tier_header": _may(
            YES_OR_NO,
            "a proxy in front sets or removes x-foremesh-tier; else all are of the default tier",
            "true",
        ),
    },
}
