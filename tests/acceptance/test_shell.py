"""The command line as a shell sees it: exit codes, and what completes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import CHECKOUT

from streams.cli import INTERRUPTED

FOREMESH = Path(sys.executable).with_name("foremesh")

# Completes the words that it is given, as bash does at a tab.
AT_A_TAB = """
eval "$($0 completion bash)"
COMP_WORDS=("$0" "$@"); COMP_CWORD=$#
_foremesh_completion "$0"
printf '%s\\n' "${COMPREPLY[@]}"
"""

# A test may run where SIGINT is ignored, as in the background of a shell.
HEARS_CTRL_C = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from streams.cli import main
main()
"""


def completed(*words: str) -> list[str]:
    done = subprocess.run(
        ["bash", "-c", AT_A_TAB, FOREMESH, *words], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("dead",), ["dead-letters"]),
        (("dead-letters", "l"), ["list"]),
        (("report", "--output", ""), ["text", "json"]),
        (("--kaf",), ["--kafka"]),
    ],
)
def test_bash_completes_commands_options_and_values(
    words: tuple[str, ...], found: list[str]
) -> None:
    assert completed(*words) == found


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_what_completes_in_another_shell_asks_foremesh(shell: str) -> None:
    printed = subprocess.run([FOREMESH, "completion", shell], stdout=subprocess.PIPE, check=True)
    assert f"_FOREMESH_COMPLETE={shell}_complete".encode() in printed.stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["metrics"], 0),
        (["--help"], 0),
        (["replay", "nowhere.csv"], 1),
        (["status"], 1),
        (["nothing-such"], 2),
        (["report", "--output", "xml"], 2),
        (["control", "mode", "pool", "maybe"], 2),
    ],
)
def test_a_command_ends_with_the_code_that_help_names(
    tmp_path: Path, words: list[str], code: int
) -> None:
    env = {**os.environ, "FOREMESH_BUILD": str(tmp_path)}
    done = subprocess.run([FOREMESH, *words], capture_output=True, env=env, check=False)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr


@pytest.fixture
def reading() -> Iterator[subprocess.Popen[bytes]]:
    """A command that reads a log from a pipe that nobody closes."""
    argv = [sys.executable, "-c", HEARS_CTRL_C, "catalog", "infer", "-"]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd=CHECKOUT) as child:
        assert child.stdin is not None
        child.stdin.write(b"user,service\n" + b"ann,a\n" * 20_000)  # more than a pipe holds
        child.stdin.flush()
        yield child
        child.kill()


def test_ctrl_c_ends_a_command_with_the_code_of_shells(reading: subprocess.Popen[bytes]) -> None:
    reading.send_signal(signal.SIGINT)
    assert reading.wait(20) == INTERRUPTED


def test_a_start_seldom_looks_for_garbage_in_what_it_imports() -> None:
    program = """
import atexit, gc, sys
sys.argv = ["foremesh", "replay", "--help"]
atexit.register(lambda: print(gc.get_stats()[0]["collections"]))
from streams.cli import main
main()
"""
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(said.stdout.splitlines()[-1]) < 200  # 86; 382 as Python does by default


@pytest.mark.parametrize(
    ("words", "verbose", "traced"),
    [
        (("-v", "db", "status"), "0", True),
        (("db", "status"), "1", True),
        (("db", "status"), "0", False),
        (("dead-letters", "list", "--reason", "-v"), "0", False),
    ],
)
def test_an_error_has_its_traceback_where_more_is_asked_for(
    words: tuple[str, ...], verbose: str, *, traced: bool
) -> None:
    nowhere = {"FOREMESH_KAFKA": "127.0.0.1:1", "FOREMESH_POSTGRES": "postgresql://127.0.0.1:1/x"}
    env = {**os.environ, **nowhere, "FOREMESH_VERBOSE": verbose}
    done = subprocess.run([FOREMESH, *words], env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert ("Traceback" in done.stderr) == traced
