"""Where the files that go with the code are."""

from __future__ import annotations

from pathlib import Path

__all__ = ["data_path"]

_PACKAGE = Path(__file__).resolve().parents[1]


def data_path(name: str) -> Path:
    """The file or folder of this name, in a checkout as in an installed wheel.

    Parameters
    ----------
    name
        Relative to the top of the repository, as `schemas` or `deploy/pom.xml`.

    Raises
    ------
    FileNotFoundError
        It is in neither place: the installation is incomplete.
    """
    for root in (_PACKAGE / "_data", _PACKAGE.parent):
        if (root / name).exists():
            return root / name
    raise FileNotFoundError(f"{name} is not part of this installation: install foremesh again")
