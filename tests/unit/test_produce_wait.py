"""Waiting for the flow, as its consumer groups tell of themselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streams.adapters.kafka.lag import GroupLag
from streams.cli import produce_wait
from streams.errors import FlowStalled
from streams.settings import Settings


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(produce_wait, "ASK_S", 0.01)


def groups(*told: tuple[int, int]) -> Callable[[Settings], list[GroupLag]]:
    """What is asked twice each time: records that a stage has taken and has left, the last for ever."""
    answers = [one for one in told for _ in range(2)]

    def asked(settings: Settings) -> list[GroupLag]:
        del settings
        taken, left = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            GroupLag(
                stage="profiler", members=1, taken=taken, records=left, held_back=0, optional=False
            )
        ]

    return asked


def test_a_flow_that_takes_records_while_others_add_more_is_not_stalled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(produce_wait, "group_lags", groups((0, 10), (10, 20), (20, 30), (50, 0)))
    produce_wait.wait_for_flow(Settings(), recorded=False, stalled_s=0.0)


def test_a_flow_that_takes_nothing_is_stalled_whatever_others_add(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(produce_wait, "group_lags", groups((5, 10), (5, 20), (5, 30)))
    with pytest.raises(FlowStalled, match="Nothing was taken for 0 s, and 20 records are left"):
        produce_wait.wait_for_flow(Settings(), recorded=False, stalled_s=0.0)
