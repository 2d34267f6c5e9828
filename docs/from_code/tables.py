"""The tables and views of PostgreSQL as Markdown, from `schema.sql` and its comments."""

from __future__ import annotations

import re
from importlib.resources import files

from from_code.parts import table

SQL = files("streams.adapters.postgres.sql").joinpath("schema.sql").read_text()
COMMENT = re.compile(
    r"^COMMENT ON (?:TABLE|VIEW|COLUMN) (\S+) IS\s+((?:'(?:[^']|'')*'\s*)+);", re.MULTILINE
)
TABLE = re.compile(r"^CREATE TABLE (\w+) \(\n(.*?)^\)", re.MULTILINE | re.DOTALL)
VIEW = re.compile(r"^CREATE VIEW (\w+) AS", re.MULTILINE)
COLUMN = re.compile(
    r"^    ([a-z_]\w*) (.+?)(?: GENERATED .*| DEFAULT .*| NOT NULL.*| PRIMARY KEY.*)?,?$",
    re.MULTILINE,
)


def tables() -> str:
    """Every table with its columns, and every view with those that need a word."""
    said = {name: _text(quoted) for name, quoted in COMMENT.findall(SQL)}
    parts = [_table(name, body, said) for name, body in TABLE.findall(SQL)]
    return "\n\n".join([*parts, *(_view(name, said) for name in VIEW.findall(SQL))])


def _text(quoted: str) -> str:
    return "".join(re.findall(r"'((?:[^']|'')*)'", quoted)).replace("''", "'")


def _table(name: str, body: str, said: dict[str, str]) -> str:
    without = re.sub(r"--.*", "", body)
    rows = [
        (f"`{column}`", form, said.get(f"{name}.{column}", ""))
        for column, form in COLUMN.findall(without)
    ]
    return f"## {name}\n\n{said[name]}\n\n{table(('column', 'type', 'what it is'), rows)}"


def _view(name: str, said: dict[str, str]) -> str:
    rows = [
        (f"`{of.removeprefix(f'{name}.')}`", text)
        for of, text in said.items()
        if of.startswith(f"{name}.")
    ]
    told = table(("column", "what it is"), rows) if rows else ""
    return f"## {name} (view)\n\n{said[name]}\n\n{told}"
