"""The Faust that the engine's overrides were tested with."""

from __future__ import annotations

from importlib.metadata import version

from streams.errors import FaustUntested

__all__ = ["check_versions"]

TESTED = {"faust-streaming": "0.15.3", "aiokafka": "0.14.", "mode-streaming": "0.7."}


def check_versions() -> None:
    """Refuse a Faust, and what it stands on, that the engine was not tested with.

    Raises
    ------
    FaustUntested
        Names what is installed and what is needed.
    """
    for package, tested in TESTED.items():
        found = version(package)
        if not found.startswith(tested):
            raise FaustUntested(
                f"The engine was not tested with {package} {found}: install "
                f"{package} {tested}{'*' if tested.endswith('.') else ''}"
            )
