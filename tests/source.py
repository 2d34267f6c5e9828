"""The source of streams as syntax trees, for the tests of its shape."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from harness import CHECKOUT

PACKAGE = CHECKOUT / "streams"
MODULES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if "_data" not in path.parts  # what a wheel carries is no code
    and "api" not in path.parts  # the package foremesh, which is above all of these
    and not path.stem.endswith(("_pb2", "_pb2_grpc"))  # nor is what protoc generates ours
)
NAMES = {
    path: ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__")
    for path in MODULES
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def trees() -> dict[Path, ast.Module]:
    """The tree of each module: parsed once it is asked for, not by whoever collects tests."""
    return {path: ast.parse(path.read_text()) for path in MODULES}


@cache
def _nodes() -> list[tuple[str, ast.AST]]:
    return [(NAMES[path], node) for path, tree in trees().items() for node in ast.walk(tree)]


def functions() -> list[tuple[str, Function]]:
    """Every function and method, with its module's name."""
    return [(name, node) for name, node in _nodes() if isinstance(node, Function)]


def classes() -> list[tuple[str, ast.ClassDef]]:
    """Every class, with its module's name."""
    return [(name, node) for name, node in _nodes() if isinstance(node, ast.ClassDef)]


def length(function: Function) -> int:
    """Lines without the docstring."""
    docstring = 0
    if ast.get_docstring(function) is not None:
        first = function.body[0]
        docstring = (first.end_lineno or 0) - first.lineno + 1
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def imports(tree: ast.AST) -> Iterator[str]:
    """Each module or name that a module imports, dotted, wherever in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
