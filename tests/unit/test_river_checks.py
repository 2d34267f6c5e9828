"""River's own checks of estimators, over those that are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from river.checks import yield_checks

from streams.lab.models.demand import DemandForecast
from streams.models.next_request.classifier import NextServiceClassifier


def checks() -> Iterator[Any]:
    """Each estimator with each of its checks.

    River imports sklearn before it yields any, though only for regressors of several targets.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "sklearn", stub := ModuleType("sklearn"))
        patch.setattr(stub, "datasets", None, raising=False)
        for model in (NextServiceClassifier(), DemandForecast()):
            for number, check in enumerate(yield_checks(model)):
                name = f"{type(model).__name__}-{check.__name__}-{number}"
                yield pytest.param(model, check, id=name)


@pytest.mark.parametrize(("model", "check"), [*checks()])
def test_river_finds_nothing_wrong_with_an_estimator(
    model: Any, check: Callable[[Any], None]
) -> None:
    check(model.clone())
