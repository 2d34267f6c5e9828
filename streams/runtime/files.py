"""Locating data files that are shipped with the code."""

from __future__ import annotations

from pathlib import Path

__all__ = ["data_path"]

_PACKAGE = Path(__file__).resolve().parents[1]


def data_path(name: str) -> Path:
    """Return the path of a data file or folder, in a checkout or an installed wheel.

    Parameters
    ----------
    name
        Its path relative to the root of the repository, such as `schemas` or `deploy/pom.xml`.

    Raises
    ------
    FileNotFoundError
        It is in neither place: the installation is incomplete.
    """
    for root in (_PACKAGE / "_data", _PACKAGE.parent):
        if (root / name).exists():
            return root / name
    raise FileNotFoundError(f"{name} is not part of this installation: install foremesh again")
