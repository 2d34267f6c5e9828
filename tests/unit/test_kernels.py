"""Where compiled kernels are kept."""

from __future__ import annotations

import os
from typing import Any

import pytest

from streams.models.kernels import KeptKernels


def kept_at(path: str) -> KeptKernels:
    made: Any = KeptKernels
    found: KeptKernels = made(kept_at, __file__)
    found._cache_path = path
    return found


def test_kernels_are_read_back_from_a_folder_that_nothing_can_be_written_to() -> None:
    kept_at(f"/proc/{os.getpid()}").ensure_cache_path()  # nobody writes there, root neither


def test_kernels_are_kept_nowhere_if_their_folder_is_missing_and_cannot_be_made() -> None:
    with pytest.raises(OSError, match="nowhere"):
        kept_at("/proc/nowhere/kernels").ensure_cache_path()
