"""YAML 1.2 as nodes, and what their scalars are: nothing that only looks like a number is one."""

from __future__ import annotations

import io
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import Node, ScalarNode
from ruamel.yaml.reader import ReaderError

from streams.errors import CatalogInvalid

__all__ = ["FieldInvalid", "compose", "number_of", "text_of", "word_of"]

_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NULLS = frozenset({"~", "null", "Null", "NULL"})
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value")
)


_DEEPEST = 50  # nested lists and mappings


class _BoundedComposer(Composer):
    """Ends before what is nested too deep: the scanner's time grows with the square of the depth."""

    depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """The next node."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise RecursionError
        node: Node | None = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(index, Node) and node is not None and _is_plain(node) and not node.value:
            node.start_mark = index.start_mark  # an empty value has that of what follows it
        return node


class FieldInvalid(ValueError):
    """A value that cannot be used; the message continues a sentence that begins with the field."""

    def __init__(self, node: Node, text: str) -> None:
        super().__init__(text)
        self.node = node


def compose(text: str, name: str) -> Node | None:
    """The root of a document; None when there is nothing.

    Raises
    ------
    CatalogInvalid
        It is not YAML, or more than one document.
    """
    yaml = YAML()
    yaml.Composer = _BoundedComposer
    yaml.composer.warn_double_anchors = False  # YAML has the later one count
    try:
        node: Node | None = yaml.compose(io.StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}, line {mark.line + 1}" if mark else name
        what = ", ".join(filter(None, (error.context, error.problem)))
        raise CatalogInvalid(f"{where}: not YAML: {what}") from error
    except ReaderError as error:
        line = text[: error.position].count("\n") + 1
        what = str(error).splitlines()[0]
        raise CatalogInvalid(f"{name}, line {line}: not YAML: {what}") from error
    except RecursionError as error:
        raise CatalogInvalid(f"{name}: not YAML: nested too deep") from error
    except (YAMLError, ValueError) as error:
        raise CatalogInvalid(f"{name}: not YAML: {str(error).splitlines()[0]}") from error
    return node


def text_of(node: Node) -> str:
    """The text of a scalar as it is written, but for null, which is none."""
    if not isinstance(node, ScalarNode):
        raise FieldInvalid(node, "must be one value, not a list or a mapping")
    tag = str(node.tag)
    if tag not in _TAGS:
        raise FieldInvalid(node, f"must have no tag, it has {tag[:40]!r}")
    text = str(node.value)
    if _is_plain(node) and text in _NULLS:
        raise FieldInvalid(node, f"must not be null, it is {text!r}: quote what is a name")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise FieldInvalid(node, "must be text, it has half a pair of surrogates")
    if "\0" in text:
        raise FieldInvalid(node, "must have no NUL, which no command or address can have")
    return text


def word_of(node: Node) -> str:
    """The text of a scalar that is not quoted; a quoted one keeps its quotes."""
    text = text_of(node)
    return text if _is_plain(node) else repr(text)


def _is_plain(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.style is None


def number_of(node: Node) -> str | None:
    """The digits of a decimal number; None when it is none, or text in quotes."""
    text = word_of(node)
    return text if _NUMBER.fullmatch(text) else None
