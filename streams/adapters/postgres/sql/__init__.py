"""SQL in files of its own: the schema, its migrations, and named queries.

None of it contains input, hence `LiteralString`.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import LiteralString

__all__ = ["migrations", "queries", "schema"]

_NAME = re.compile(r"^-- (\w+) --$\n", re.MULTILINE)


def _read(name: str) -> LiteralString:
    return files(__name__).joinpath(name).read_text("utf-8")


@cache
def queries(file: LiteralString = "queries.sql") -> dict[str, LiteralString]:
    """Every query of a file by name: a line `-- name --` starts one."""
    _, *parts = _NAME.split(_read(file))
    return dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))


def schema() -> LiteralString:
    """The whole schema, the result of all migrations."""
    return _read("schema.sql")


def migrations() -> dict[str, LiteralString]:
    """Every migration by its name without `.sql`, in order."""
    names = sorted(entry.name for entry in files(__name__).joinpath("migrations").iterdir())
    return {name.removesuffix(".sql"): _read(f"migrations/{name}") for name in names}
