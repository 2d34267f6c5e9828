"""Files that commands write at their end: refused before the work, and written whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click

from streams.errors import FileUnwritable

__all__ = ["OutputFile", "write_whole"]


_FORMATS = ("json", "table", "yaml")  # what `--output` takes where it names no file


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
        if value in _FORMATS:
            self.fail(
                f"{value} is a format, and this names a file: ./{value} would be one", param, ctx
            )
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
    """Write a file whole or not at all: one that was there stays until all is written.

    Devices, pipes, and files in a folder that cannot be written to are written as they are.

    Parameters
    ----------
    new
        It must not exist.

    Raises
    ------
    FileUnwritable
        There is something in the way; the message says what.
    """
    target = path.resolve()
    try:
        if new:
            _write_new(target, data)
        elif _is_replaceable(path, target):
            _replace(target, data)
        else:
            target.write_bytes(data)
    except OSError as error:
        raise FileUnwritable(
            f"{path} cannot be written: {error.strerror}; name another file"
        ) from error


def _is_replaceable(path: Path, target: Path) -> bool:
    if str(path.absolute()).startswith(("/dev/", "/proc/")):  # such as a redirected /dev/stdout
        return False
    return (target.is_file() or not target.exists()) and os.access(target.parent, os.W_OK)


def _replace(target: Path, data: bytes) -> None:
    beside = target.with_name(f".{os.getpid()}{target.suffix}")
    _write_new(beside, data)
    if target.exists():
        shutil.copymode(target, beside)
    beside.replace(target)


def _write_new(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        raise
    except BaseException:
        path.unlink(missing_ok=True)
        raise
