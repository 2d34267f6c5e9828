"""The versions of Faust and its libraries that the overrides were tested with."""

from __future__ import annotations

from importlib.metadata import version

from streams.errors import FaustUntested

__all__ = ["check_versions"]

TESTED = {"faust-streaming": "0.15.3", "aiokafka": "0.14.", "mode-streaming": "0.7."}


def check_versions() -> None:
    """Refuse versions that the engine was not tested with.

    Raises
    ------
    FaustUntested
        The message names the installed and the needed version.
    """
    for package, tested in TESTED.items():
        found = version(package)
        if not found.startswith(tested):
            raise FaustUntested(
                f"The engine was not tested with {package} {found}: install "
                f"{package} {tested}{'*' if tested.endswith('.') else ''}"
            )
