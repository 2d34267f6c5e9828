from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from streams.request_path.core.orchestration import CompositeRun, ConstituentFailed, last_step_of


class Run(CompositeRun):
    """A request whose constituents do what a test says."""

    def __init__(self, *step: str, session: object = None) -> None:
        super().__init__(
            request_id="r",
            steps=(step,),
            deadline_ms=2**42,
            body={},
            session=cast("aiohttp.ClientSession", session),
            idempotent=True,
        )

    async def call(self, constituent: str, inputs: dict[str, Any], is_last: bool) -> None:
        del is_last
        await self.post(constituent, "http://127.0.0.1:1", inputs)

    def close(self) -> None:
        pass


class Unreadable:
    """A session, and its answer that nobody can read."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def post(self, *_: object, **__: object) -> Unreadable:
        return self

    async def __aenter__(self) -> SimpleNamespace:
        return SimpleNamespace(json=self.json)

    async def __aexit__(self, *_: object) -> None:
        pass

    async def json(self, **_: object) -> object:
        raise self.error


def test_an_instance_is_given_back_after_its_last_step() -> None:
    assert last_step_of((("a", "b"), ("c",), ("a",))) == {"a": 2, "b": 0, "c": 1}


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Expecting value"),
        RecursionError("maximum recursion depth exceeded"),
        LookupError("'base64' is not a text encoding"),
        aiohttp.ClientPayloadError("Response payload is not completed"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_answer_that_nobody_can_read_is_a_fault_of_its_constituent(
    error: Exception,
) -> None:
    with pytest.raises(ConstituentFailed, match=f"a did not answer with JSON: {error}"):
        await Run("a", session=Unreadable(error)).execute()
