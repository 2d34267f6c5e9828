"""What a library keeps to itself is touched only where Faust is adapted."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from source import MODULES, NAMES, PACKAGE

FAUST = PACKAGE / "engine" / "faust"
PRIVATE = re.compile(r"_(?!_)|__\w*(?<!__)$")
# Documented for everybody, whatever their spelling: named tuples, leaving without clean-up, and
# the codes of errors that arise in the client itself.
PUBLIC = re.compile(r"\._(replace|asdict|fields|make)$|^os\._exit$|^KafkaError\._[A-Z_]+$")


def own_names(tree: ast.Module) -> set[str]:
    """What this module defines: private names shared by its own classes and functions."""
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


def touched(source: str) -> Iterator[str]:
    """Private names that this code takes from elsewhere."""
    tree = ast.parse(source)
    own = own_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and PRIVATE.match(node.attr):
            mine = node.attr in own or ast.unparse(node.value) in {"self", "cls"}
            if not mine and not PUBLIC.search(ast.unparse(node)):
                yield f"{ast.unparse(node)} in line {node.lineno}"
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from (f"import of {name}" for name in names if PRIVATE.match(name))


@pytest.mark.parametrize(
    "path", [path for path in MODULES if not path.is_relative_to(FAUST)], ids=NAMES.get
)
def test_no_private_attribute_of_a_library_is_touched(path: Path) -> None:
    assert list(touched(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    ["detector._x_min = 0", "Mean._from_state(1, 2)", "from river._x import y", "a.b().__c"],
)
def test_a_touched_private_name_is_seen(source: str) -> None:
    assert list(touched(source))
