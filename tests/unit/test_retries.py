from __future__ import annotations

import pytest

from streams.records.catalog import Composite
from streams.request_path.core.retries import is_idempotent


@pytest.mark.parametrize(
    ("method", "catalogued", "may_be_twice"),
    [("POST", False, False), ("PATCH", False, False), ("GET", False, True), ("POST", True, True)],
)
def test_a_request_may_be_served_twice_by_its_method_or_because_the_catalogue_says_so(
    method: str, catalogued: bool, may_be_twice: bool
) -> None:
    composite = Composite(service="order", steps=(("stock",),), idempotent=catalogued)

    assert is_idempotent(method, composite) is may_be_twice
