"""The rules of the code that a machine can hold."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import CHECKOUT

MODULES = sorted(
    path
    for path in (CHECKOUT / "streams").rglob("*.py")
    if "_data" not in path.parts  # what a wheel carries is no code
)
NAMES = {path: ".".join(path.relative_to(CHECKOUT).with_suffix("").parts) for path in MODULES}

MODULE_LINES = 300
FUNCTION_LINES = 40
README_LINES = 130

VOCABULARY = {"catalog", "control", "verdict", "trial", "records"}

# What of ours a part of streams may import: itself, and these. Parts not named here are on top.
BELOW = {
    "errors": set(),
    "catalog": set(),
    "settings": {"errors"},
    "control": set(),
    "verdict": {"control"},
    "trial": set(),
    "records": {"catalog", "control", "verdict", "trial"},
    "topology": {*VOCABULARY},
    "models": {*VOCABULARY},
    "stages": {*VOCABULARY, "models"},
    "adapters": {*VOCABULARY, "topology", "settings", "errors"},
    "engine": {*VOCABULARY, "topology", "settings", "errors", "stages.base"},
    "devstack": {"errors", "adapters.files"},
}
PURE = {"stages", "models", "lab.models"}
PURE_MAY_USE = sys.stdlib_module_names | {"numba", "numpy", "river", "scipy", "streams"}
IMPURE = {"socket", "subprocess", "threading", "asyncio", "requests", "urllib", "http"}


def imports(path: Path) -> Iterator[str]:
    """Each module that this one imports, dotted, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            if node.module == "streams":
                yield from (f"streams.{alias.name}" for alias in node.names)


def part(name: str) -> str:
    """The part of streams that a module belongs to: `adapters` of `streams.adapters.kafka`."""
    return name.split(".")[1] if "." in name else ""


def may_import(importer: str, imported: str) -> bool:
    allowed = BELOW.get(part(importer))
    if allowed is None or part(imported) in {"", part(importer)}:
        return True
    below = imported.removeprefix("streams.")
    return any(below == one or below.startswith(f"{one}.") for one in allowed)


def pure(name: str) -> bool:
    """Whether a module belongs to a part that touches nothing outside."""
    return any(name.startswith(f"streams.{one}.") for one in PURE)


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines without the docstring."""
    docstring = 0
    if ast.get_docstring(function) is not None:
        first = function.body[0]
        docstring = (first.end_lineno or 0) - first.lineno + 1
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def tracked() -> list[Path]:
    said = subprocess.run(
        ["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout
    paths = [CHECKOUT / name for name in said.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_module_has_more_than_300_lines() -> None:
    sizes = {NAMES[path]: len(path.read_text().splitlines()) for path in MODULES}

    assert {name: size for name, size in sizes.items() if size > MODULE_LINES} == {}


def test_no_function_has_more_than_40_lines() -> None:
    long = {
        f"{NAMES[path]}.{node.name}": length(node)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and length(node) > FUNCTION_LINES
    }

    assert long == {}


def test_imports_go_down_only() -> None:
    upward = [
        f"{NAMES[path]} imports {imported}"
        for path in MODULES
        for imported in imports(path)
        if imported.split(".")[0] == "streams" and not may_import(NAMES[path], imported)
    ]

    assert upward == []


def test_stages_and_models_use_only_numbers_and_river_and_touch_nothing_outside() -> None:
    forbidden = [
        f"{NAMES[path]} imports {imported}"
        for path in MODULES
        if pure(NAMES[path])
        for imported in imports(path)
        if imported.split(".")[0] not in PURE_MAY_USE - IMPURE
    ]

    assert forbidden == []


def test_stages_and_models_read_no_clock() -> None:
    clocks = re.compile(r"\b(time\.(time|monotonic|perf_counter)|datetime\.now|utcnow)\b")
    readers = [
        NAMES[path] for path in MODULES if pure(NAMES[path]) and clocks.search(path.read_text())
    ]

    assert readers == []


@pytest.mark.parametrize("name", [name for name in NAMES.values() if "__main__" not in name])
def test_all_that_a_module_exports_is_there(name: str) -> None:
    module = importlib.import_module(name.removesuffix(".__init__"))

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
