"""Files that commands write at their end: refused before the work, and written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import click

from streams.errors import FileUnwritable

__all__ = ["OutputFile", "write_whole"]


class OutputFile(click.ParamType):
    """A file that can be written, of one of the suffixes if there are any."""

    name = "file"

    def __init__(self, *suffixes: str) -> None:
        self.suffixes = suffixes

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Its path."""
        path = Path(str(value))
        if why := self._unusable(path):
            self.fail(f"{path} {why}", param, ctx)
        return path

    def _unusable(self, path: Path) -> str:
        folder = path.parent
        if self.suffixes and path.suffix.lower() not in self.suffixes:
            return f"has no known format: name it {' or '.join(self.suffixes)}"
        if path.is_dir():
            return "is a folder: name a file"
        if not folder.is_dir():
            return "cannot be written: make its folder first"
        if not os.access(path if path.exists() else folder, os.W_OK):
            return "cannot be written: name a file that you may write"
        return ""


def write_whole(path: Path, data: bytes, *, new: bool = False) -> None:
    """Write a file; with `new` it must not exist. One that cannot be written whole is removed.

    Raises
    ------
    FileUnwritable
        There is something in the way; the message says what.
    """
    try:
        with path.open("xb" if new else "wb") as file:
            _write(file.fileno(), data, path)
    except OSError as error:
        raise FileUnwritable(
            f"{path} cannot be written: {error.strerror}; name another file"
        ) from error


def _write(file: int, data: bytes, path: Path) -> None:
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(file, left) :]
    except BaseException:
        if path.is_file():
            path.unlink()
        raise
