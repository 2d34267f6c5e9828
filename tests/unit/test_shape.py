"""The rules of the code that a machine can hold; `test_imports` has those about imports."""

from __future__ import annotations

import ast
import importlib
import re
import statistics
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from harness import CHECKOUT
from source import NAMES, Function, classes, functions, length, trees

MODULE_LINES = 300
LONGEST_MODULE_LINES = 500
FUNCTION_LINES = 40
MEDIAN_FUNCTION_LINES = 8
README_LINES = 130
MOST_ONE_WORD_CLASSES = 0.35

# Modules that read better whole, with the reason; at most ten.
LONG_MODULES: Mapping[str, str] = {
    "streams.adapters.metrics.table": "a row for each metric, and nothing else",
}

# Called from outside: gRPC calls the servicers' methods; the others are for programs that use
# foremesh as a library.
CALLED_BY_OTHERS = {
    *("StreamAccessLogs", "StreamAggregatedResources"),
    *("NextServiceClassifier", "EnsembleClassifier", "read_log"),
    "mermaid",  # draws docs/concepts/flow.md
}

WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z][a-z0-9]*|[A-Z]+")


def sizes() -> dict[str, int]:
    return {name: len(path.read_text().splitlines()) for path, name in NAMES.items()}


def mentioned(tree: ast.AST) -> Iterator[str]:
    """Every name that a module uses, calls, imports or writes as text, but in `__all__`."""
    exports = {
        id(item)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if node.targets[0].id == "__all__"
        for item in ast.walk(node.value)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name):
                yield name
            case ast.alias(name=name):
                yield from name.split(".")
            case ast.Constant(value=str(text)) if id(node) not in exports:
                yield text


@cache
def names_in(path: Path) -> frozenset[str]:
    """All that a module mentions; two tests ask, and a walk over all modules takes a second."""
    return frozenset(mentioned(trees()[path]))


def unused() -> Iterator[str]:
    """Functions and classes that nothing mentions; those of a class with a base may override."""
    uses = CALLED_BY_OTHERS.union(*map(names_in, trees()))
    for path, tree in trees().items():
        inherited = {
            id(method)
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and node.bases
            for method in node.body
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | Function) and id(node) not in inherited:
                magic = node.name.startswith("__")
                if not node.decorator_list and not magic and node.name not in uses:
                    yield f"{NAMES[path]}.{node.name}"


def tracked() -> list[Path]:
    said = subprocess.run(
        ["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout
    paths = [CHECKOUT / name for name in said.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_module_has_more_than_300_lines_without_a_reason() -> None:
    long = {name for name, size in sizes().items() if size > MODULE_LINES}

    assert long == LONG_MODULES.keys()


def test_few_modules_are_long_and_none_has_more_than_500_lines() -> None:
    assert len(LONG_MODULES) <= 10
    assert max(sizes().values()) <= LONGEST_MODULE_LINES


def test_no_function_has_more_than_40_lines() -> None:
    long = {
        f"{module}.{node.name}": length(node)
        for module, node in functions()
        if length(node) > FUNCTION_LINES
    }

    assert long == {}


def test_half_of_the_functions_have_at_most_8_lines() -> None:
    median = statistics.median(length(node) for _, node in functions())

    assert median <= MEDIAN_FUNCTION_LINES


def test_a_class_name_stands_in_one_module() -> None:
    places = defaultdict(set)
    for module, node in classes():
        places[node.name.lstrip("_")].add(module)

    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_most_class_names_say_of_what_they_are() -> None:
    words = Counter(len(WORD.findall(node.name.lstrip("_"))) == 1 for _, node in classes())

    assert words[True] / words.total() < MOST_ONE_WORD_CLASSES


def test_nothing_is_dead() -> None:
    assert list(unused()) == []


def test_nothing_is_copied_deeply() -> None:
    copies = [NAMES[path] for path in trees() if "deepcopy" in names_in(path)]

    assert copies == []


def test_every_package_says_what_belongs_in_it() -> None:
    silent = [
        name
        for path, name in NAMES.items()
        if path.name == "__init__.py" and not ast.get_docstring(trees()[path])
    ]

    assert silent == []


@pytest.mark.parametrize("name", [name for name in NAMES.values() if "__main__" not in name])
def test_all_that_a_module_exports_is_there(name: str) -> None:
    module = importlib.import_module(name)

    missing = [export for export in getattr(module, "__all__", ()) if not hasattr(module, export)]

    assert missing == []


def test_the_readme_is_short() -> None:
    assert len((CHECKOUT / "README.md").read_text().splitlines()) <= README_LINES


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    folders = "home|root|Users|work|mnt"
    personal = re.compile(rf"(^|[\s\"'=(:])/({folders})/\w".encode(), re.MULTILINE)
    naming = [
        str(path.relative_to(CHECKOUT)) for path in tracked() if personal.search(path.read_bytes())
    ]

    assert naming == []
