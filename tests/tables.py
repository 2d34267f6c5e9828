"""What people see of a command at 80 columns in a pipe, and the pictures it is compared with."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from rich.console import RenderableType

from streams.cli.console import PrintableConsole
from streams.report.text_table import set_apart

COLUMNS = 80
PICTURES = Path(__file__).parent / "unit" / "golden" / "tables"


def piped(parts: Iterable[RenderableType]) -> str:
    """The text that a pipe gets; AssertionError where a line is longer than 80 columns."""
    console = PrintableConsole(file=io.StringIO(), width=COLUMNS, force_terminal=False)
    for part in set_apart(parts):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    wide = [line for line in lines if len(line) > COLUMNS]
    assert wide == []
    return "\n".join(lines) + "\n"


def picture(name: str) -> str:
    """How a table looked when somebody last looked at it."""
    path = PICTURES / f"{name}.txt"
    return path.read_text(encoding="utf-8") if path.exists() else ""
