"""Whether paths of an access log name more services than was found in them."""

from __future__ import annotations

import re
from collections import Counter

__all__ = ["PathTally"]

MOST_PATHS = 10_000  # different ones that are remembered
MOST_TEXT = 200  # characters of each
MOST_SERVICES = 100  # more are ids
VERSION = r"v\d+"

_HOST = re.compile(r"^[A-Za-z][\w+.-]*://[^/?#]*")
_SPECIAL = re.compile(r"[\\.^$*+?{}\[\]|()]")


class PathTally:
    """The paths of a log, as long as all of them are of one service."""

    def __init__(self) -> None:
        self.service = ""
        self._several = False
        self._paths: set[str] = set()

    def note(self, path: str, service: str) -> None:
        """Take one more request into account."""
        if self._several or not service:
            return
        self.service = self.service or service
        self._several = service != self.service
        if self._several:
            self._paths.clear()
        elif len(self._paths) < MOST_PATHS:
            self._paths.add(path[:MOST_TEXT])

    def deeper(self) -> tuple[str, list[str]] | None:
        """What follows the beginning that all paths have, where that tells services apart.

        Returns
        -------
        A regular expression for `--service-from`, and the services that it gives; None if requests
        were of several services, or paths do not differ by segments, or by so many as ids do.
        """
        bare = [_bare(path) for path in self._paths]
        paths = [[segment for segment in path.split("/") if segment] for path in bare]
        alike = _alike([[_pattern(segment) for segment in path] for path in paths])
        longer = [path for path in paths if len(path) > alike]
        services = Counter(sorted(path[alike] for path in longer if not path[alike].isdigit()))
        if not alike or not 1 < len(services) <= MOST_SERVICES:
            return None
        slash = "/+" if any("//" in path for path in bare) else "/"
        parts = [*(_pattern(segment) for segment in longer[0][:alike]), "([^/?#]+)"]
        return slash + slash.join(parts), [name for name, _ in services.most_common()]


def _bare(path: str) -> str:
    """The path without a server and a query."""
    return re.split("[?#]", _HOST.sub("", path), maxsplit=1)[0]


def _pattern(segment: str) -> str:
    """The regular expression of a segment; that of a version is of any."""
    return VERSION if re.fullmatch(VERSION, segment) else _SPECIAL.sub(r"\\\g<0>", segment)


def _alike(paths: list[list[str]]) -> int:
    """How many segments all paths begin with that go on after them."""
    count = 0
    while len({path[count] for path in paths if len(path) > count}) == 1:
        count += 1
    return count
