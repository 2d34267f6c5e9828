"""Kafka's classes as Java loaded them once: with them a broker starts sooner, in less memory.

Java writes such an archive when it ends (JEP 350), and does without one that does not fit it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from streams.devstack.tools import Java

__all__ = ["keep", "options"]


def options(jars: Path, java: Java, writer: Path | None = None) -> list[str]:
    """Options of Java to use the archive beside the jars.

    Where this version of Java has none, the server in the directory `writer` writes one as it ends.
    """
    archive = jars / f"classes-{_digest(java.version)}.jsa"
    if archive.exists():
        return [f"-XX:SharedArchiveFile={archive}"]
    if writer is None:
        return []
    quiet = "-Xlog:cds=off,cds+dynamic=off"
    return [quiet, f"-XX:ArchiveClassesAtExit={archive}.{_digest(str(writer))}"]


def keep(jars: Path, server: Path, *, whole: bool) -> None:
    """Keep what a server wrote that has ended by itself; else it may be a part, and is removed."""
    for written in jars.glob(f"*.jsa.{_digest(str(server))}"):
        if whole:
            written.replace(written.with_suffix(""))
        else:
            written.unlink()


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
