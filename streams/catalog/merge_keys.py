"""YAML's merge keys (`<<: *defaults`): what a mapping takes over from others."""

from __future__ import annotations

from collections.abc import Iterator

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

__all__ = ["inherited", "is_merge"]


def is_merge(key: Node) -> bool:
    """Whether this is a merge key; in quotes it is a name."""
    return isinstance(key, ScalarNode) and key.value == "<<" and key.style is None


def inherited(node: MappingNode, seen: set[int] | None = None) -> Iterator[tuple[Node, Node]]:
    """The pairs that a mapping takes over, those that count first; each mapping gives its once.

    A merge key of anything but mappings gives itself, as a pair.
    """
    seen = seen or set()
    seen.add(id(node))
    for key, value in node.value:
        if not is_merge(key):
            continue
        for other in value.value if isinstance(value, SequenceNode) else [value]:
            if not isinstance(other, MappingNode):
                yield key, value
            elif id(other) not in seen:
                yield from (pair for pair in other.value if not is_merge(pair[0]))
                yield from inherited(other, seen)
