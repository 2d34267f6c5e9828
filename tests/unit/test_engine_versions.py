from __future__ import annotations

import pytest

from streams.engine.faust import versions
from streams.errors import FaustUntested


def test_the_installed_faust_is_one_the_engine_was_tested_with() -> None:
    versions.check_versions()


def test_a_faust_that_was_not_tested_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(versions, "version", lambda name: {"aiokafka": "0.14.1"}.get(name, "0.16"))
    with pytest.raises(FaustUntested, match=r"not tested with faust-streaming 0\.16: install"):
        versions.check_versions()
