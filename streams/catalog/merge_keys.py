"""YAML's merge keys (`<<: *defaults`): what a mapping takes over from others."""

from __future__ import annotations

from collections.abc import Iterator

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

__all__ = ["MOST", "inherited", "is_merge"]

MOST = 100  # mappings that one may take over


def is_merge(key: Node) -> bool:
    """Whether this is a merge key; in quotes it is a name."""
    return isinstance(key, ScalarNode) and key.value == "<<" and key.style is None


def inherited(node: MappingNode) -> Iterator[tuple[Node, Node]]:
    """The pairs that a mapping takes over, those that count first; each mapping gives its once.

    A merge key of anything but a mapping, and one of more than there may be, gives itself.
    """
    seen, left = {id(node)}, _merges(node)
    while left:
        key, other = left.pop()
        if not isinstance(other, MappingNode) or len(seen) > MOST:
            yield key, other
            return
        if id(other) not in seen:
            seen.add(id(other))
            yield from (pair for pair in other.value if not is_merge(pair[0]))
            left += _merges(other)


def _merges(node: MappingNode) -> list[tuple[Node, Node]]:
    """The merge keys of a mapping, each with one thing that it names, the first one last."""
    return [
        (key, other)
        for key, value in reversed(node.value)
        if is_merge(key)
        for other in reversed(value.value if isinstance(value, SequenceNode) else [value])
    ]
