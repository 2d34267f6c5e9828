"""The command line where its standard output cannot be written to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_a_standard_output_that_cannot_be_written_to_is_an_error_in_one_sentence(
    tmp_path: Path, where: str
) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,service\nann,pricing\n")
    line = f'"{sys.executable}" -m streams catalog infer "{log}" {where}'
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "foremesh: nothing can be written: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_standard_input_that_is_closed_is_an_empty_one() -> None:
    line = f'"{sys.executable}" -m streams catalog infer - <&-'
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "foremesh: - is empty" in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8:strict"])
@pytest.mark.parametrize("command", [["status"], ["catalog", "infer", "log.csv"]])
def test_names_are_whole_whatever_encoding_python_takes_the_output_to_have(
    tmp_path: Path, encoding: str, command: list[str]
) -> None:
    folder = tmp_path / ("so deep that its name is cut " * 4) / "\N{GREEK SMALL LETTER ALPHA}"
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text("user,service\nann,\N{GREEK SMALL LETTER ALPHA}\n", "utf-8")
    line = [sys.executable, "-m", "streams", *command]
    env = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "200"}
    done = subprocess.run(line, capture_output=True, cwd=folder, env=env, check=False)
    assert "\N{GREEK SMALL LETTER ALPHA}" in done.stdout.decode()
    assert b"Traceback" not in done.stderr


def test_a_log_of_which_no_row_can_be_used_says_why(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,service,time\nann,pricing,soon\n")
    line = [sys.executable, "-m", "streams", "catalog", "infer", str(log)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no row that can be used: line 2 (ann,pricing,soon): column 'time'" in done.stderr


def test_a_folder_that_cannot_be_made_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    line = [sys.executable, "-m", "streams", "up"]
    env = {**os.environ, "FOREMESH_BUILD": str(tmp_path / "taken" / "build")}
    done = subprocess.run(line, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 1
    assert "build cannot be used: Not a directory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["status", "down", "demo"])
def test_a_current_folder_that_was_removed_is_told_in_one_sentence(
    tmp_path: Path, command: str
) -> None:
    line = f'cd "{tmp_path}" && rmdir "{tmp_path}" && "{sys.executable}" -m streams {command}'
    env = {name: value for name, value in os.environ.items() if name != "FOREMESH_BUILD"}
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "foremesh: the folder in which this runs was removed: change to another one\n"
    )
