from __future__ import annotations

from pathlib import Path

import pytest

from streams.devstack import env_of, tools
from streams.errors import StackFailed, ToolMissing


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with programs."""
    folder = tmp_path / "bin"
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


def test_a_missing_java_is_named(only: Path) -> None:
    assert not only.exists()

    with pytest.raises(ToolMissing, match="Java is missing: install"):
        tools.java()


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.22", "16.0.1"])
def test_an_old_java_is_refused(only: Path, version: str) -> None:
    program(only, "java", f"echo 'openjdk version \"{version}\"' >&2")

    with pytest.raises(ToolMissing, match="needs Java 17 or later"):
        tools.java()


@pytest.mark.parametrize("version", ["17.0.15", "21", "25.0.1"])
def test_a_recent_java_is_taken(only: Path, version: str) -> None:
    program(only, "java", f"echo 'openjdk version \"{version}\"' >&2")

    assert tools.java().path == str(only / "java")


def test_a_missing_maven_is_named(only: Path, tmp_path: Path) -> None:
    assert not only.exists()

    with pytest.raises(ToolMissing, match="Maven is missing: install"):
        tools.kafka_jars(tmp_path / "build")


def test_jars_are_fetched_once(only: Path, tmp_path: Path) -> None:
    build = tmp_path / "build"
    # Stands for Maven's download: makes the folder that it is told to, and counts its calls.
    fetch = "echo x >> calls; for a; do case $a in -DoutputDirectory=*) d=${a#*=};; esac; done"
    program(only, "mvn", f"{fetch}; /bin/mkdir -p $d")

    first, second = tools.kafka_jars(build), tools.kafka_jars(build)

    assert first == second
    assert (build / "calls").read_text() == "x\n"


def test_what_maven_says_is_passed_on_when_it_fails(only: Path, tmp_path: Path) -> None:
    program(only, "mvn", "echo 'no route to the repository' >&2; exit 1")

    with pytest.raises(StackFailed, match="no route to the repository"):
        tools.kafka_jars(tmp_path / "build")


def test_a_lock_is_waited_for_no_longer_than_allowed(tmp_path: Path) -> None:
    with (
        tools.locked(tmp_path / "lock", 5),
        pytest.raises(StackFailed, match="another process has held"),
        tools.locked(tmp_path / "lock", 0.2),
    ):
        pass


def test_without_a_stack_there_are_no_variables(tmp_path: Path) -> None:
    assert env_of(tmp_path) == {}
