from __future__ import annotations

from streams.request_path.core.orchestration import last_step_of


def test_an_instance_is_given_back_after_its_last_step() -> None:
    assert last_step_of((("a", "b"), ("c",), ("a",))) == {"a": 2, "b": 0, "c": 1}
