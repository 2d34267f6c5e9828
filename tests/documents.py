"""The blocks of README and docs, and how those of a page are run: in order, as a reader types them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from commands import RUNS, WITHOUT
from harness import CHECKOUT, eventually

PAGES = sorted([CHECKOUT / "README.md", *(CHECKOUT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^( *)```(\{?[\w-]*\}?)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"^# Not run by the tests: (.+)")
PORT = re.compile(r"\b(80[08]\d|9091|910\d|9901)\b")  # those that pages name
LIMIT_S = 500

# Commands that run until stopped go on behind the reader's next line, as in another terminal; the
# same command again takes the place of the one before.
SHIM = """\
#!/bin/sh
case " $* " in *" --help "*) exec {python} -m streams "$@" ;; esac
# It asks every address that a variable names, and these name some only since ports must be free.
[ "$1" != doctor ] || unset FOREMESH_GATEWAY FOREMESH_PROVISIONER FOREMESH_MESH_EDGE FOREMESH_MESH_DECIDE
case "$1 $2" in
  {runs}) ;;
  *) exec {python} -m streams "$@" ;;
esac
name=$1
[ "$1" != mesh ] || name=mesh-$2
log={folder}/$name
if [ -e "$log.pid" ] && kill "$(cat "$log.pid")"; then
  until [ -e "$log.code" ]; do sleep .1; done
fi
rm -f "$log".*
(
  {python} -m streams "$@" > "$log.log" 2>&1 < /dev/null &
  echo $! > "$log.pid"
  code=0
  wait $! || code=$?
  echo $code > "$log.code"
) > /dev/null 2>&1 &
for _ in $(seq 300); do
  sleep .2
  [ ! -e "$log.code" ] || exit 1
  caught=$(sed -n 's/^SigCgt:\t/0x/p' "/proc/$(cat "$log.pid")/status")
  [ $(( ${{caught:-0}} & 0x4000 )) = 0 ] || exit 0  # it knows what to do when told to stop
done
exit 1
"""
SQL = """\
#!{python}
import os, sys, psycopg
with psycopg.connect(os.environ["FOREMESH_POSTGRES"]) as connection:
    for statement in filter(str.strip, sys.stdin.read().split(";")):
        print(*connection.execute(statement).fetchall(), sep="\\n")
"""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page: its language and its lines."""

    language: str
    text: str

    @property
    def not_run(self) -> str:
        """Why it cannot be run, as it says itself in its first line; empty when it is."""
        said = NOT_RUN.match(self.text)
        return said[1] if said else ""


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    found = BLOCK.findall(page.read_text())
    return [Block(language, textwrap.dedent(text)) for _, language, text in found]


def script(page: Path) -> str:
    """What a reader types who follows a page: its shell, SQL and Python, and nothing else."""
    wrapped = {"sh": "{}", "sql": "run-sql <<'END'\n{}END\n", "python": "python <<'END'\n{}END\n"}
    return "".join(
        wrapped[block.language].format(block.text)
        for block in blocks(page)
        if block.language in wrapped and not block.not_run
    )


def printed(page: Path) -> list[str]:
    """The lines that a page says are printed: those of its blocks `text`."""
    return [line for b in blocks(page) if b.language == "text" for line in b.text.splitlines()]


@dataclass(slots=True)
class Reader:
    """Follows pages in a folder, with foremesh on the path.

    Parameters
    ----------
    folder
        Where the pages are followed; what they start writes its log beside it.
    env
        Variables, those of the settings among them.
    """

    folder: Path
    env: Mapping[str, str]
    _bin: Path = field(init=False)

    def __post_init__(self) -> None:
        self._bin = self.folder.with_name(f"{self.folder.name}-bin")
        self._bin.mkdir()
        runs = "|".join(_patterns())
        python = shlex.quote(sys.executable)
        for name, text in (("foremesh", SHIM), ("run-sql", SQL)):
            program = self._bin / name
            program.write_text(text.format(python=python, runs=runs, folder=self._bin))
            program.chmod(0o755)
        (self._bin / "python").symlink_to(sys.executable)

    def follow(self, typed: str) -> str:
        """Run what is typed, line by line, until one fails; what was printed."""
        path = os.pathsep.join(
            [str(self._bin), str(Path(sys.executable).parent), os.environ["PATH"]]
        )
        file, output = self._bin / "typed", self._bin / "printed"
        file.write_text(f"PS4='+ after $SECONDS s: '\n{typed}")
        with output.open("wb") as printing:
            done = subprocess.run(
                # Ends all of the page when time is up, what runs behind it too.
                ["timeout", str(LIMIT_S), "bash", "-euxo", "pipefail", file],
                cwd=self.folder,
                env={
                    **os.environ,
                    **self.env,
                    "PATH": path,
                    "PYTHONPATH": str(CHECKOUT),
                    "COLUMNS": "80",
                },
                stdin=subprocess.DEVNULL,
                stdout=printing,
                stderr=subprocess.STDOUT,
                check=False,
            )
        said = output.read_text()
        assert done.returncode == 0, f"{said[-6_000:]}\n{self.logs()}"
        return said

    def stop(self) -> dict[str, int]:
        """End all that still runs; the exit code of each that was started."""
        for pid in self._bin.glob("*.pid"):
            with suppress(ProcessLookupError):
                if not pid.with_suffix(".code").exists():
                    os.kill(int(pid.read_text()), signal.SIGTERM)
        return {pid.stem: _code(pid.with_suffix(".code")) for pid in self._bin.glob("*.pid")}

    def logs(self) -> str:
        """The end of what each process has logged."""
        return "\n".join(f"{p.stem}:\n{p.read_text()[-1_500:]}" for p in self._bin.glob("*.log"))


def _patterns() -> Iterator[str]:
    """Of the words of a command that runs until stopped, as patterns of a shell."""
    for words, why in WITHOUT.items():
        if why == RUNS and words != "mesh":
            yield f'"{words}"' if " " in words else f'"{words} "*'


def _code(path: Path) -> int:
    return int(eventually(lambda: path.exists() and path.read_text(), 20.0))
