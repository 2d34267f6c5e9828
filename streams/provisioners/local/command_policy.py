"""Which commands of the catalogue may be started on this machine, and what they find around them.

Whoever can write to the topic `catalog` names commands, so what a provisioner starts is listed by
who runs it: as patterns, as catalogues, or by having loaded the catalogue from the same directory.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

from streams.errors import SettingInvalid

__all__ = ["CommandPolicy", "note_commands", "noted_at"]

_REST = "*"  # as the last word of a pattern
# What programs need to run as they do in a shell; the rest may hold secrets.
_PASSED = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR"),
    *("LD_LIBRARY_PATH", "PYTHON*", "VIRTUAL_ENV", "CUDA_*", "NVIDIA_*", "OMP_*"),
)
_OURS = "FOREMESH_"  # settings, which hold passwords

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPolicy:
    """What may be started; nothing by default.

    Parameters
    ----------
    patterns
        Of commands, word by word.
    listed
        Commands that are allowed as they are.
    noted
        The file of `note_commands`, read at every start: a catalogue may be loaded meanwhile.
    passed
        Names or patterns of further environment variables for instances.
    """

    patterns: tuple[Command, ...] = ()
    listed: frozenset[Command] = frozenset()
    noted: Path | None = None
    passed: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        patterns: Iterable[str],
        listed: Iterable[Command] = (),
        noted: Path | None = None,
        passed: Iterable[str] = (),
    ) -> Self:
        """The policy of patterns as they are typed.

        Raises
        ------
        SettingInvalid
            A pattern has an open quotation mark.
        """
        try:
            words = tuple(tuple(shlex.split(pattern)) for pattern in patterns)
        except ValueError as error:
            raise SettingInvalid(f"--allow-command cannot be read: {error}") from error
        return cls(patterns=words, listed=frozenset(listed), noted=noted, passed=tuple(passed))

    def allows(self, command: Sequence[str]) -> bool:
        """Whether a command of the catalogue may be started."""
        words = tuple(command)
        return (
            words in self.listed
            or any(_matches(pattern, words) for pattern in self.patterns)
            or (self.noted is not None and words in _noted(self.noted))
        )

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The variables of ours that instances have too."""
        known = (*_PASSED, *self.passed)
        return {
            name: value
            for name, value in variables.items()
            if not name.startswith(_OURS) and any(fnmatchcase(name, one) for one in known)
        }


def _matches(pattern: Command, words: Command) -> bool:
    if pattern[-1:] == (_REST,):
        pattern = pattern[:-1]
        words, rest = words[: len(pattern)], words[len(pattern) :]
        if not pattern:
            return bool(rest)
    return len(words) == len(pattern) and all(map(_matches_word, pattern, words))


def _matches_word(pattern: str, word: str) -> bool:
    """A star stands for a part of a word, but not for `/` nor for a way up."""
    if word == pattern:
        return True
    parts = "[^/]*".join(map(re.escape, pattern.split("*")))
    return re.fullmatch(parts, word) is not None and ".." not in word.split("/")


def noted_at(build: str, prefix: str) -> Path:
    """Where the commands of the catalogue are noted that was loaded last."""
    return Path(build) / f"{prefix}commands.allowed"


def note_commands(path: Path, commands: Iterable[Command]) -> None:
    """Allow these commands, and no others noted before, to who starts a provisioner here."""
    lines = [json.dumps(command) + "\n" for command in sorted(set(commands) - {()})]
    if not lines:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="utf-8", delete=False) as file:
        file.writelines(lines)  # mode 600
    Path(file.name).replace(path)


def _noted(path: Path) -> frozenset[Command]:
    """The commands noted; none where others than this user could have written them."""
    try:
        about = path.stat()
        if about.st_uid not in {0, os.getuid()} or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return frozenset()
        lines = path.read_text(encoding="utf-8").splitlines()
        return frozenset(tuple(json.loads(line)) for line in lines)
    except (OSError, ValueError):
        return frozenset()
